//! The model on Windows lacks forks, nesting, and system calls that fail.

/// No injector exists.
pub mod injector {
    use super::super::subject::Number;

    pub enum Injector {}

    impl Injector {
        pub fn reset(&self) {
            match *self {}
        }

        pub fn inside<R>(&self, _: impl FnOnce() -> R) -> (R, bool) {
            match *self {}
        }

        pub fn take_wrong(&self) -> Option<String> {
            match *self {}
        }

        pub fn add_stranger(&self, _: Number) {
            match *self {}
        }

        pub fn remove_stranger(&self, _: Number) {
            match *self {}
        }
    }
}

pub mod child {
    pub enum Child {}
}

pub mod forks {
    use std::time::Duration;

    use super::super::program::{Outcome, Run};

    #[derive(Clone, Debug)]
    pub enum ChildStep {}

    #[allow(clippy::unused_self)]
    impl Run<'_> {
        pub fn fork(&mut self, _: &[ChildStep]) -> Outcome {
            Ok(())
        }

        pub fn fork_and_live(&mut self) -> Outcome {
            Ok(())
        }

        pub fn reap(&mut self) -> Outcome {
            Ok(())
        }

        pub fn has_ring(&self) -> bool {
            false
        }

        pub fn time_to_release(&mut self) -> Result<Duration, String> {
            Ok(Duration::ZERO)
        }
    }
}

pub mod nesting {
    use super::super::program::{Outcome, Run};

    pub enum Nested {}

    #[allow(clippy::unused_self)]
    impl Run<'_> {
        pub fn nest(&mut self) -> Outcome {
            Ok(())
        }

        pub fn nest_after_rebuild(&mut self) -> Outcome {
            Ok(())
        }

        pub fn check_nested(&self) -> Outcome {
            Ok(())
        }

        pub fn check_nested_is_settled(&self) -> Outcome {
            Ok(())
        }

        pub fn check_own_descriptors(&self) -> Outcome {
            Ok(())
        }
    }
}
