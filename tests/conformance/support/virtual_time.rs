//! The time of a case: a lab's, if the crate has labs and the case requests one, otherwise the
//! system's.

pub use clock::{enter, now, pass};

#[cfg(feature = "testing")]
#[allow(clippy::missing_const_for_thread_local)] // It is const; clippy does not detect it on some targets.
mod clock {
    use std::cell::RefCell;
    use std::thread;
    use std::time::{Duration, Instant};

    use polyselect::testing::{InLab, Lab};

    use crate::support::disorder;

    thread_local!(static LAB: RefCell<Option<Lab>> = const { RefCell::new(None) });

    /// Puts the loops that this thread creates from now on into a lab.
    pub fn enter() -> InLab {
        let (seed, disorder) = disorder::of_environment();
        let lab = Lab::new(seed, disorder);
        LAB.set(Some(lab.clone()));
        lab.enter()
    }

    fn lab() -> Option<Lab> {
        LAB.with_borrow(Clone::clone)
    }

    pub fn now() -> Instant {
        lab().map_or_else(Instant::now, |lab| lab.now())
    }

    /// Lets time pass while the caller works.
    pub fn pass(duration: Duration) {
        match lab() {
            Some(lab) => lab.advance(duration),
            None => thread::sleep(duration),
        }
    }
}

#[cfg(not(feature = "testing"))]
mod clock {
    use std::thread;
    use std::time::{Duration, Instant};

    pub fn enter() {}

    pub fn now() -> Instant {
        Instant::now()
    }

    pub fn pass(duration: Duration) {
        thread::sleep(duration);
    }
}
