//! The event loop: the same on every mechanism as well.

pub mod accepting;
pub mod calls;
#[cfg(unix)]
pub mod children;
pub mod errors;
pub mod reentrancy;
#[cfg(unix)]
pub mod signals;
pub mod sources;
pub mod timers;
pub mod turns;

use polyselect::{Backend, EventLoop};

pub fn open<T: 'static>(backend: Backend, state: T) -> EventLoop<T> {
    EventLoop::with_backend(backend, state).expect("is available")
}
