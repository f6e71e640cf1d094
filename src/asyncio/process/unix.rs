//! Children on Unix: their pipes are sources, and their end is an event of a pidfd, or noticed by a thread.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin};

use crate::asyncio::{Async, to_thread};
use crate::child;
use crate::source::nonblocking;

/// The pipe to the standard input of a [`Process`](super::Process): on Unix a source, on Windows a type of its own.
///
/// On both systems it has [`write`](Async::write), [`write_all`](Async::write_all), [`try_write`](Async::try_write) and
/// `AsyncWrite`. Dropping it is the end of the child's input.
///
/// ```
/// use polyselect::asyncio::PipeWriter;
///
/// async fn greet(stdin: PipeWriter) -> std::io::Result<()> {
///     stdin.write_all(b"hello").await
/// }
/// ```
pub type PipeWriter = Async<io::PipeWriter>;

/// The pipe from the standard output or the standard error of a [`Process`](super::Process): on Unix a source, on Windows
/// a type of its own.
///
/// On both systems it has [`read`](Async::read), [`read_exact`](Async::read_exact), [`try_read`](Async::try_read) and
/// `AsyncRead`.
///
/// ```
/// use polyselect::asyncio::PipeReader;
///
/// async fn first_byte(stdout: PipeReader) -> std::io::Result<u8> {
///     let mut byte = [0];
///     stdout.read_exact(&mut byte).await?;
///     Ok(byte[0])
/// }
/// ```
pub type PipeReader = Async<io::PipeReader>;

pub(super) fn writer(pipe: ChildStdin) -> io::Result<PipeWriter> {
    Async::new(nonblocking(pipe)?)
}

pub(super) fn reader(pipe: impl Into<OwnedFd>) -> io::Result<PipeReader> {
    Async::new(nonblocking(pipe)?)
}

/// Waits until a child has ended, without reaping it.
pub(super) async fn child_ends(child: &Child) -> io::Result<()> {
    let process = child.id();
    match child::open_pidfd(process) {
        Ok(pidfd) => Async::new(nonblocking::<OwnedFd>(pidfd)?)?.readable().await,
        Err(error) => {
            log::debug!("a thread waits for process {process}: no pidfd: {error}");
            to_thread(move || child::wait_for_end(process)).await?
        }
    }
}

/// Reaps a child that still runs when it has ended.
pub(super) fn reap_later(mut child: Child) {
    // The child may run for long, so this does not occupy a thread of the pool.
    let reap = move || drop(child.wait());
    let thread = std::thread::Builder::new().name("reaper of a process".to_owned());
    if let Err(error) = thread.spawn(reap) {
        log::error!("a process that was dropped will be a zombie: {error}");
    }
}
