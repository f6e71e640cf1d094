//! [`signal`]: signals in tasks.

use std::ffi::c_int;
use std::{fmt, io};

use rustix::fd::{AsFd, BorrowedFd};

use super::source::Async;
use crate::clock::Clock;
use crate::signal::HandlerOfSignal;
use crate::waker::Waker;

/// Handles a signal by a stream of its arrivals.
///
/// From the call on, the signal's default action does not happen, not even when the stream has been dropped. Several
/// streams, callbacks of
/// [`EventLoop::on_signal`](crate::EventLoop::on_signal) and handlers of other code for the same signal see it, each
/// for itself. Opens a descriptor; does not block.
///
/// # Errors
///
/// `InvalidInput` for signals that cannot be handled (`SIGKILL`, `SIGSTOP`, `SIGSEGV` and their like), and the errors of
/// opening the descriptor.
///
/// Stops at the first Ctrl-C, and ends immediately at the second:
///
/// ```no_run
/// use polyselect::signal::SIGINT;
/// use polyselect::{EventLoop, asyncio};
/// use std::{io, time::Duration};
///
/// # fn main() -> io::Result<()> {
/// EventLoop::new(())?.block_on(async {
///     let server = asyncio::start_server(([127, 0, 0, 1], 0), |_stream| async { Ok(()) })?;
///     let mut interrupt = asyncio::signal(SIGINT)?;
///     interrupt.recv().await?;
///     asyncio::spawn(async move {
///         if interrupt.recv().await.is_ok() {
///             std::process::exit(130);
///         }
///     }).detach();
///     server.stop(Duration::from_secs(30)).await;
///     io::Result::Ok(())
/// })?
/// # }
/// ```
///
/// See [`Signals`] for another example.
pub fn signal(signal: c_int) -> io::Result<Signals> {
    let waker = Waker::new(Clock::system())?;
    waker.as_fd()?;
    let handler = HandlerOfSignal::install(signal, [], waker.clone())?;
    let source = Async::new(WakerSource(waker))?;
    Ok(Signals { source, _handler: handler })
}

/// The arrivals of a signal; [`signal`] returns it.
///
/// Arrivals coalesce: those that come before [`recv`](Self::recv) count as one, as they do in the kernel while a signal
/// is pending. None is lost.
///
/// ```
/// # #[cfg(unix)] {
/// use polyselect::signal::SIGTERM;
/// use polyselect::{EventLoop, asyncio};
///
/// EventLoop::new(())?.block_on(async {
///     let mut terminate = asyncio::signal(SIGTERM)?;
///     # rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)?;
///     terminate.recv().await?;
///     println!("the last connections may finish");
///     std::io::Result::Ok(())
/// })??;
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Signals {
    source: Async<WakerSource>,
    _handler: HandlerOfSignal,
}

impl Signals {
    /// Waits until the signal has come since the last call. An arrival is not lost when this is cancelled.
    ///
    /// # Errors
    ///
    /// Fails as [`Async::readable`] does.
    ///
    /// See [`Signals`] for an example.
    pub async fn recv(&mut self) -> io::Result<()> {
        let take = |source: &WakerSource| match source.0.take() {
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        };
        self.source.read_with(take).await
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}

struct WakerSource(Waker);

impl AsFd for WakerSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd().expect("`signal` has opened it")
    }
}
