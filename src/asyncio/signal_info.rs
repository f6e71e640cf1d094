//! [`signal_info`]: signals in tasks, with their senders.

use std::ffi::c_int;
use std::io::{self, PipeReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::source::Async;
use crate::signal::{HandlerOfSignal, Record, SIGCHLD};
use crate::source::nonblocking;

/// Handles a signal by a stream of its arrivals, each with the kernel's `siginfo_t`. Linux only.
///
/// It is like [`signal`](super::signal), but arrivals do not coalesce here: each is a record in a pipe, and
/// [`missed`](SignalInfos::missed) counts those for which the pipe has no room. The kernel still keeps only one arrival
/// of a signal that is pending already, unless it is a real-time signal.
///
/// The records are made by a handler and not by a `signalfd`, which has nothing to read unless every thread of the process
/// blocks the signal. Opens two descriptors; does not block.
///
/// # Errors
///
/// `InvalidInput` for signals that cannot be handled (`SIGKILL`, `SIGSTOP`, `SIGSEGV` and their like), and the errors of
/// opening the pipe.
///
/// See [`SignalInfos`] for an example.
pub fn signal_info(signal: c_int) -> io::Result<SignalInfos> {
    let (reader, writer) = io::pipe()?;
    let missed = Arc::default();
    let handler =
        HandlerOfSignal::install_recorder(signal, nonblocking(writer)?, Arc::clone(&missed))?;
    Ok(SignalInfos { _handler: handler, signal, missed, source: Async::new(nonblocking(reader)?)? })
}

/// The arrivals of a signal, each with its sender; [`signal_info`] returns it.
///
/// ```
/// use polyselect::signal::SIGHUP;
/// use polyselect::{EventLoop, asyncio};
///
/// EventLoop::new(())?.block_on(async {
///     let mut reloads = asyncio::signal_info(SIGHUP)?;
///     # rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP)?;
///     let info = reloads.recv().await?;
///     assert_eq!(info.pid(), Some(std::process::id()));
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SignalInfos {
    /// Dropped before the pipe's reader, because a write without a reader raises `SIGPIPE`.
    _handler: HandlerOfSignal,
    signal: c_int,
    missed: Arc<AtomicU64>,
    source: Async<PipeReader>,
}

impl SignalInfos {
    /// Waits for the next arrival. None is lost when this is cancelled.
    ///
    /// # Errors
    ///
    /// Fails as [`Async::readable`] does.
    ///
    /// See [`SignalInfos`] for an example.
    pub async fn recv(&mut self) -> io::Result<SignalInfo> {
        let mut bytes = [0; Record::LENGTH];
        self.source.read_with(|mut pipe: &PipeReader| pipe.read_exact(&mut bytes)).await?;
        Ok(SignalInfo { signal: self.signal, record: Record::from_bytes(bytes) })
    }

    /// Returns the number of arrivals that had no room in the pipe, which takes at least 256.
    ///
    /// ```
    /// # use polyselect::{EventLoop, asyncio, signal::SIGHUP};
    /// # EventLoop::new(())?.block_on(async {
    /// assert_eq!(asyncio::signal_info(SIGHUP)?.missed(), 0);
    /// # std::io::Result::Ok(())
    /// # })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

/// The kernel's description of the arrival of a signal, a `siginfo_t`.
///
/// See [`SignalInfos`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalInfo {
    signal: c_int,
    record: Record,
}

impl SignalInfo {
    /// Returns `si_code`: why the signal was sent. `sigaction(2)` lists the codes.
    ///
    /// See [`SignalInfos`] for an example.
    pub fn code(&self) -> c_int {
        self.record.code
    }

    /// Returns the process that sent the signal or, for `SIGCHLD`, the child. `None` for other signals that the kernel
    /// sent.
    ///
    /// See [`SignalInfos`] for an example.
    pub fn pid(&self) -> Option<u32> {
        self.has_process().then_some(self.record.pid.cast_unsigned())
    }

    /// Returns the real user ID of the process that [`pid`](Self::pid) names.
    ///
    /// See [`SignalInfos`] for an example.
    pub fn uid(&self) -> Option<u32> {
        self.has_process().then_some(self.record.uid.cast_unsigned())
    }

    /// Returns the exit code of the child or the number of the signal that ended, stopped or continued it, if this is
    /// the kernel's `SIGCHLD`. [`code`](Self::code) has the reason (`CLD_EXITED` and others).
    ///
    /// See [`SignalInfos`] for an example.
    pub fn status(&self) -> Option<c_int> {
        self.is_of_child().then_some(self.record.last)
    }

    /// Returns the number that the sender passed to `sigqueue`.
    ///
    /// See [`SignalInfos`] for an example.
    pub fn value(&self) -> Option<c_int> {
        (self.record.code == libc::SI_QUEUE).then_some(self.record.last)
    }

    fn is_of_child(&self) -> bool {
        self.signal == SIGCHLD && self.record.code > 0
    }

    fn has_process(&self) -> bool {
        matches!(self.record.code, libc::SI_USER | libc::SI_TKILL | libc::SI_QUEUE)
            || self.is_of_child()
    }
}
