//! Coroutines on the loop: `async` code beside callbacks, on the same thread (feature `async`).
//!
//! [`EventLoop::spawn`](crate::EventLoop::spawn) starts a coroutine, and
//! [`EventLoop::block_on`](crate::EventLoop::block_on) waits for one. In coroutines:
//!
//! | for | see |
//! |---|---|
//! | sources: reading, writing, accepting, connecting, datagrams | [`Async`] |
//! | time | [`sleep`], [`sleep_until`], [`timeout`], [`yield_now`] |
//! | other tasks | [`spawn`], [`JoinHandle`] |
//! | lines, queues and back-pressure | [`StreamReader`], [`StreamWriter`] |
//! | a server | [`start_server`], [`serve`], [`Server`] |
//!
//! Everything here belongs to the loop's thread but the wakers, which may be used from any. When to take
//! coroutines and when callbacks, and how they live together, is [a page of its own](crate::_docs::coroutines).

mod connect;
mod datagram;
mod futures_io;
mod join;
mod listener;
mod operations;
mod orders;
mod queue;
mod read_write;
mod readiness;
mod requests;
mod runtime;
mod server;
mod serving;
mod short_read;
mod source;
mod state;
mod stream_writer;
mod streams;
mod this_thread;
mod time;
mod waiters;

use std::future::Future;
use std::panic::Location;
use std::sync::{Mutex, MutexGuard, atomic};

pub use join::{DetachedOutput, JoinError, JoinHandle};
pub use listener::Incoming;
pub(crate) use queue::{TaskId, TaskWaker};
pub(crate) use requests::{Alarm, AlarmRequest, Order, Request, TaskSource};
pub(crate) use runtime::{OPERATION_BUDGET, Runtime};
pub use server::{Server, serve, start_server};
pub use source::Async;
pub use stream_writer::StreamWriter;
pub use streams::StreamReader;
use this_thread::this_thread;
pub use time::{Elapsed, Sleep, now, sleep, sleep_until, timeout, yield_now};

/// Spawns a task on the loop that runs the caller, like [`EventLoop::spawn`](crate::EventLoop::spawn).
///
/// # Panics
///
/// If it is called outside a task of an [`EventLoop`](crate::EventLoop).
///
/// ```
/// use polyselect::{EventLoop, asyncio};
///
/// let sum = EventLoop::new(())?.block_on(async {
///     let (one, two) = (asyncio::spawn(async { 1 }), asyncio::spawn(async { 2 }));
///     one.await.unwrap() + two.await.unwrap()
/// })?;
/// assert_eq!(sum, 3);
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn spawn<R: 'static>(future: impl Future<Output = R> + 'static) -> JoinHandle<R> {
    let runtime = Runtime::current().unwrap_or_else(|error| panic!("{error}"));
    runtime.spawn(future, Location::caller())
}
