//! Tasks on the loop: `async` code beside callbacks, on the same thread (feature `async`).
//!
//! [`EventLoop::spawn`](crate::EventLoop::spawn) spawns a task, and
//! [`EventLoop::block_on`](crate::EventLoop::block_on) runs the loop until a future is ready. In tasks:
//!
//! | for | see |
//! |---|---|
//! | sources: reading, writing, accepting, connecting, datagrams | [`Async`] |
//! | time | [`now`], [`sleep`], [`sleep_until`], [`interval`], [`timeout`], [`timeout_at`], [`Timeout`], [`yield_now`] |
//! | child processes and signals | [`Process`], [`signal`], `signal_info` (Linux) |
//! | blocking work, and names | [`to_thread`], [`getaddrinfo`], [`open_connection`] |
//! | other tasks | [`spawn`], [`JoinHandle`], [`TaskGroup`], [`gather`], [`shield`] |
//! | lines, queues and back-pressure | [`StreamReader`], [`StreamWriter`] |
//! | a server | [`start_server`], [`start_server_host`], `start_unix_server`, [`serve`], [`Server`] |
//!
//! Everything here belongs to the loop's thread, except the wakers, which may be used from any thread. The page
//! [tasks](crate::_docs::coroutines) compares tasks with callbacks and shows how to combine them.

mod connect;
mod datagram;
mod futures_io;
mod group;
mod intervals;
mod join;
mod limits;
mod listener;
mod names;
mod operations;
mod orders;
mod process;
mod queue;
mod read_write;
mod readiness;
mod requests;
mod runtime;
mod server;
mod serving;
mod short_read;
#[cfg(target_os = "linux")]
mod signal_info;
mod signals;
mod source;
mod state;
mod stream_writer;
mod streams;
mod thread;
mod time;
mod uninit;
mod waiters;

use std::future::Future;
use std::panic::Location;
use std::sync::{Mutex, MutexGuard, atomic};

use crate::this_thread::this_thread;

pub use group::{Shield, TaskGroup, gather, shield};
pub use intervals::{Interval, interval};
pub use join::{DetachedOutput, JoinError, JoinHandle};
pub use limits::{Elapsed, Timeout, timeout, timeout_at};
pub use listener::Incoming;
#[cfg(unix)]
pub use names::open_unix_connection;
pub use names::{getaddrinfo, open_connection};
pub use process::{PipeReader, PipeWriter, Process};
pub(crate) use queue::{TaskId, TaskWaker};
pub(crate) use requests::{Alarm, AlarmRequest, Order, Request, TaskSource};
pub(crate) use runtime::{OPERATION_BUDGET, Runtime, Task};
#[cfg(unix)]
pub use server::start_unix_server;
pub use server::{Server, serve, start_server, start_server_host};
#[cfg(target_os = "linux")]
pub use signal_info::{SignalInfo, SignalInfos, signal_info};
pub use signals::{Signals, signal};
pub use source::Async;
pub use stream_writer::StreamWriter;
pub use streams::StreamReader;
pub use thread::{ToThread, to_thread};
pub use time::{Sleep, now, sleep, sleep_until, yield_now};

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
    let runtime = Runtime::expect_current();
    runtime.spawn(future, Location::caller())
}

/// Spawns a task with a name, which [`EventLoop::tasks`](crate::EventLoop::tasks) shows; otherwise like [`spawn`].
///
/// # Panics
///
/// Panics as [`spawn`] does.
///
/// ```
/// use polyselect::{EventLoop, asyncio};
///
/// EventLoop::new(())?.block_on(async {
///     asyncio::spawn_named("the answer", async { 42 }).await
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn spawn_named<R: 'static>(
    name: impl Into<String>,
    future: impl Future<Output = R> + 'static,
) -> JoinHandle<R> {
    let runtime = Runtime::expect_current();
    runtime.spawn_named(Some(name.into().into_boxed_str()), future, Location::caller())
}
