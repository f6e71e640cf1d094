//! The clock of a selector or a loop: the system's monotonic clock, or that of a lab.
//!
//! Whatever a lab changes above the backend goes through here too, so that without the feature `testing` nothing of it
//! is left.

use std::time::Duration;

#[cfg(feature = "testing")]
use in_lab as imp;
#[cfg(not(feature = "testing"))]
use of_system as imp;

pub(crate) use imp::Clock;
pub(crate) use imp::OutsideWork;

/// Saturates at 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(feature = "testing")]
mod in_lab {
    use std::panic::Location;
    use std::time::Instant;

    use crate::backend::{AnyPoller, Backend};
    use crate::testing::Outside;
    use crate::testing::{Lab, LabPoller};

    #[derive(Clone, Debug)]
    pub(crate) struct Clock(Option<Lab>);

    /// Work outside of the lab, if there is one: its time passes at the real pace.
    #[derive(Debug)]
    pub(crate) struct OutsideWork(#[allow(dead_code)] Option<Outside>); // For its destructor.

    impl Clock {
        /// The clock of the lab that the thread is in, or the system's.
        pub(crate) fn current() -> Self {
            Self(Lab::current())
        }

        pub(crate) fn of(lab: &Lab) -> Self {
            Self(Some(lab.clone()))
        }

        pub(crate) fn system() -> Self {
            Self(None)
        }

        #[inline]
        pub(crate) fn is_in_lab(&self) -> bool {
            self.0.is_some()
        }

        /// The backend of a selector that has this clock.
        pub(crate) fn wrap(&self, backend: Backend, poller: AnyPoller) -> AnyPoller {
            match &self.0 {
                Some(lab) => AnyPoller::other(LabPoller::wrap(lab, backend, poller)),
                None => poller,
            }
        }

        #[inline]
        pub(crate) fn now(&self) -> Instant {
            self.0.as_ref().map_or_else(Instant::now, Lab::now)
        }

        /// Panics if the moment is not of this clock.
        #[track_caller]
        pub(crate) fn check(&self, moment: Instant) -> Instant {
            assert!(
                self.0.as_ref().is_none_or(|lab| lab.has_moment(moment)),
                "this moment is of the system's clock, and the loop is in a lab, which has its own: compute the \
                 deadline from `EventLoop::now` or `asyncio::now` instead of `Instant::now`"
            );
            moment
        }

        /// The moment of this clock for a moment of a clock that was read before this one was known.
        #[cfg(feature = "async")]
        pub(crate) fn convert(&self, moment: Instant) -> Instant {
            match &self.0 {
                Some(lab) if !lab.has_moment(moment) => lab.now(),
                _ => moment,
            }
        }

        pub(crate) fn outside_work(&self) -> OutsideWork {
            OutsideWork(self.0.as_ref().map(Lab::outside))
        }

        /// How much of `length` a read or a write moves.
        #[cfg(feature = "async")]
        #[inline]
        pub(crate) fn shortened(&self, length: usize) -> usize {
            self.0.as_ref().map_or(length, |lab| lab.shortened(length))
        }

        pub(crate) fn delays_calls(&self) -> bool {
            self.0.as_ref().is_some_and(Lab::delays_calls)
        }

        #[cfg(feature = "async")]
        pub(crate) fn shuffle_tasks<I>(&self, tasks: &mut [I]) {
            if let Some(lab) = &self.0 {
                lab.shuffle_tasks(tasks);
            }
        }

        pub(crate) fn shuffle_timers<I>(&self, timers: &mut [I]) {
            if let Some(lab) = &self.0 {
                lab.shuffle_timers(timers);
            }
        }

        pub(crate) fn note_call(
            &self,
            what: &'static str,
            place: Option<&'static Location<'static>>,
        ) {
            if let Some(lab) = &self.0 {
                lab.note_call(what, place);
            }
        }

        /// Called by a waker, also in a signal's handler.
        #[inline]
        pub(crate) fn note_wake(&self) {
            if let Some(lab) = &self.0 {
                lab.note_wake();
            }
        }
    }
}

#[cfg(not(feature = "testing"))]
mod of_system {
    use std::panic::Location;
    use std::time::Instant;

    use crate::backend::{AnyPoller, Backend};

    #[derive(Clone, Debug)]
    pub(crate) struct Clock;

    #[derive(Debug)]
    pub(crate) struct OutsideWork;

    #[allow(clippy::unused_self)]
    impl Clock {
        pub(crate) fn current() -> Self {
            Self
        }

        pub(crate) fn system() -> Self {
            Self
        }

        #[inline]
        pub(crate) fn is_in_lab(&self) -> bool {
            false
        }

        #[inline]
        pub(crate) fn wrap(&self, _: Backend, poller: AnyPoller) -> AnyPoller {
            poller
        }

        #[inline]
        pub(crate) fn now(&self) -> Instant {
            Instant::now()
        }

        #[inline]
        pub(crate) fn check(&self, moment: Instant) -> Instant {
            moment
        }

        #[cfg(feature = "async")]
        #[inline]
        pub(crate) fn convert(&self, moment: Instant) -> Instant {
            moment
        }

        #[inline]
        pub(crate) fn outside_work(&self) -> OutsideWork {
            OutsideWork
        }

        #[cfg(feature = "async")]
        #[inline]
        pub(crate) fn shortened(&self, length: usize) -> usize {
            length
        }

        #[cfg(feature = "async")]
        #[inline]
        pub(crate) fn shuffle_tasks<I>(&self, _: &mut [I]) {}

        #[inline]
        pub(crate) fn note_call(&self, _: &'static str, _: Option<&'static Location<'static>>) {}

        #[inline]
        pub(crate) fn note_wake(&self) {}
    }
}
