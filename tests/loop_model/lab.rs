//! The lab in which a program runs, if the crate has labs: virtual time, in which tasks may sleep
//! for hours, and the disorder that the documentation permits.

use std::time::Duration;

pub use imp::Lab;

use super::ending::patience;

const IS_VIRTUAL: bool = cfg!(feature = "testing");

/// A duration for which a program sleeps or waits: microseconds, and in a lab seconds, because they cost nothing there.
pub fn long(units: u64) -> Duration {
    if IS_VIRTUAL { Duration::from_secs(units) } else { Duration::from_micros(units) }
}

/// The time limit, on the loop's clock, for events that must happen.
pub fn longest() -> Duration {
    if IS_VIRTUAL { 10_000 * patience() } else { patience() }
}

#[cfg(feature = "testing")]
mod imp {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::io;
    use std::time::{Duration, Instant};

    use polyselect::testing::{Disorder, Outside};
    use polyselect::{Backend, EventLoop};

    pub struct Lab {
        lab: polyselect::testing::Lab,
        /// The number of iterations by which a call of another thread may be delayed.
        pub late_calls: u64,
    }

    impl Lab {
        /// Equal programs get the same seed.
        pub fn new(program: &impl std::fmt::Debug) -> Self {
            let mut hasher = DefaultHasher::new();
            format!("{program:?}").hash(&mut hasher);
            let seed = hasher.finish();
            // Each delay happens with one chance in four; half of the programs have none, and are checked exactly.
            let (late_calls, remote) = if seed.is_multiple_of(2) { (0, 0) } else { (50, 64) };
            let disorder = Disorder { remote, ..Disorder::promised() };
            let lab = polyselect::testing::Lab::new(seed, disorder);
            lab.set_limit(Duration::from_secs(1_000 * 24 * 60 * 60));
            Self { lab, late_calls }
        }

        pub fn open<T: 'static>(&self, backend: Backend, state: T) -> io::Result<EventLoop<T>> {
            EventLoop::builder().lab(&self.lab).backend(backend).build(state)
        }

        pub fn now(&self) -> Instant {
            self.lab.now()
        }

        pub fn outside(&self) -> Outside {
            self.lab.outside()
        }

        /// Lets time pass that would not pass by itself.
        pub fn pass(&self, duration: Duration) {
            self.lab.advance(duration);
        }
    }
}

#[cfg(not(feature = "testing"))]
mod imp {
    use std::io;
    use std::time::{Duration, Instant};

    use polyselect::{Backend, EventLoop};

    pub struct Lab {
        pub late_calls: u64,
    }

    /// Time always runs at the real pace.
    pub struct Outside;

    #[allow(clippy::unused_self)]
    impl Lab {
        pub fn new(_program: &impl std::fmt::Debug) -> Self {
            Self { late_calls: 0 }
        }

        pub fn open<T: 'static>(&self, backend: Backend, state: T) -> io::Result<EventLoop<T>> {
            EventLoop::with_backend(backend, state)
        }

        pub fn now(&self) -> Instant {
            Instant::now()
        }

        pub fn outside(&self) -> Outside {
            Outside
        }

        pub fn pass(&self, _: Duration) {}
    }
}
