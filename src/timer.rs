//! Timers without their callbacks: the key, the clock, and the wheel that keeps them in order.

mod clock;
pub(crate) mod wheel;

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) use clock::TimerClock;
use wheel::Handle;

/// Names a timer of an [`EventLoop`](crate::EventLoop):
/// [`call_later`](crate::EventLoop::call_later), [`call_at`](crate::EventLoop::call_at) and
/// [`call_every`](crate::EventLoop::call_every) return it, and [`cancel`](crate::EventLoop::cancel) takes it.
///
/// A key never names another timer, not even one of another loop.
///
/// ```
/// use polyselect::{EventLoop, TimerKey};
/// use std::{io::ErrorKind, time::Duration};
///
/// let mut event_loop = EventLoop::new(())?;
/// let timer: TimerKey = event_loop.call_later(Duration::from_secs(60), |_loop| {});
/// event_loop.cancel(timer)?;
/// assert_eq!(event_loop.cancel(timer).unwrap_err().kind(), ErrorKind::NotFound);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerKey {
    owner: Owner,
    handle: Handle,
}

impl fmt::Debug for TimerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimerKey({}:{})", self.owner.0, self.handle)
    }
}

/// Distinguishes the timers of one loop from those of another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Owner(u32);

impl Owner {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Only uniqueness matters, and that needs no ordering.
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn key(self, handle: Handle) -> TimerKey {
        TimerKey { owner: self, handle }
    }

    /// The handle of a key, if the timer is this owner's.
    #[inline]
    pub(crate) fn handle(self, key: TimerKey) -> Option<Handle> {
        (key.owner == self).then_some(key.handle)
    }
}
