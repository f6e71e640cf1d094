//! [`SignalKey`].

use std::sync::atomic::{AtomicU64, Ordering};

/// Names a callback of a signal: [`EventLoop::on_signal`](crate::EventLoop::on_signal) returns it, and
/// [`EventLoop::remove_signal`](crate::EventLoop::remove_signal) takes it. It never names another.
///
/// See [`EventLoop::on_signal`](crate::EventLoop::on_signal) for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SignalKey(u64);

impl SignalKey {
    pub(super) fn new() -> Self {
        static KEYS: AtomicU64 = AtomicU64::new(0);

        Self(KEYS.fetch_add(1, Ordering::Relaxed))
    }
}
