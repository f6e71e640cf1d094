//! Ctrl-C for servers with blocking calls: a call that could block for ever is made once it will not.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use polyselect::accept::{Batch, REST, is_exhausted};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;
use signal_hook::SigId;
use socket2::Socket;

/// The signals that stop the program.
#[derive(Clone)]
pub struct CtrlC {
    /// The one of this process, after those of the processes it was forked from.
    signals: Vec<Arc<Socket>>,
    handlers: Vec<SigId>,
    stopped: Arc<OnceLock<Instant>>,
}

/// The time after Ctrl-C in which work in progress may finish.
const GRACE: Duration = Duration::from_secs(1);

impl CtrlC {
    pub fn new() -> io::Result<Self> {
        Self::beside(Vec::new())
    }

    fn beside(mut signals: Vec<Arc<Socket>>) -> io::Result<Self> {
        let (reader, handlers) = super::signal_socket()?;
        super::printing::handles_sigterm();
        signals.push(Arc::new(reader));
        Ok(Self { signals, handlers, stopped: Arc::default() })
    }

    /// The source that becomes readable when the program is to stop; for a selector.
    pub fn signal(&self) -> Arc<Socket> {
        Arc::clone(self.signals.last().expect("one of this process"))
    }

    /// For a forked child: stops with its parent; a stop of the child does not stop the parent.
    pub fn of_child(&self) -> io::Result<Self> {
        self.handlers.iter().for_each(|&handler| {
            signal_hook::low_level::unregister(handler);
        });
        Self::beside(self.signals.clone())
    }

    /// Waits until one of these is readable, and returns its index; `None` if the program is to
    /// stop.
    pub fn wait(&self, sources: &[&dyn AsFd]) -> io::Result<Option<usize>> {
        let ready = self.poll(sources, PollFlags::IN)?;
        Ok(if self.is_stopped() { None } else { ready })
    }

    /// Waits until `accept` finds a client; `false` if the program is to stop.
    pub fn wait_for_client(&self, listener: &impl AsFd) -> io::Result<bool> {
        Ok(self.wait(&[listener])?.is_some())
    }

    /// Waits until `recv` finds data or the end of the stream; `false` if the program is to stop, and no data
    /// arrived before that.
    pub fn wait_for_data(&self, conn: &impl AsFd) -> io::Result<bool> {
        Ok(self.poll(&[conn], PollFlags::IN)?.is_some() && !self.is_overdue())
    }

    /// Waits until `send` takes a short message as a whole; `false` if the program is to stop: a peer that
    /// does not read cannot prevent that.
    pub fn wait_for_room(&self, conn: &impl AsFd) -> io::Result<bool> {
        Ok(self.poll(&[conn], PollFlags::OUT)?.is_some() && !self.is_overdue())
    }

    fn is_stopped(&self) -> bool {
        self.stopped.get().is_some()
    }

    fn is_overdue(&self) -> bool {
        self.stopped.get().is_some_and(|since| since.elapsed() > GRACE)
    }

    /// Waits until a source is ready, and returns which; `None` if none is and the program is to
    /// stop.
    fn poll(&self, sources: &[&dyn AsFd], flags: PollFlags) -> io::Result<Option<usize>> {
        let sources = sources.iter().map(|it| PollFd::from_borrowed_fd(it.as_fd(), flags));
        let signals = self.signals.iter().map(|it| PollFd::new(&**it, PollFlags::IN));
        let mut all: Vec<_> = sources.chain(signals).collect();
        while let Err(error) = poll(&mut all, None) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
        let (sources, signals) = all.split_at(all.len() - self.signals.len());
        if signals.iter().any(|signal| !signal.revents().is_empty()) {
            self.stopped.get_or_init(Instant::now);
        }
        Ok(sources.iter().position(|source| !source.revents().is_empty()))
    }
}

/// Returns the connection that `accept` has returned; `None` if that client has gone, or if it has to wait,
/// after a rest, until descriptors are free.
pub fn accepted<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    let mut result = Some(result);
    match Batch::with_limit(1).next(|| result.take().expect("a batch of one")) {
        Err(error) if is_exhausted(&error) => {
            log::warn!("a connection has to wait: {error}");
            thread::sleep(REST);
            Ok(None)
        }
        accepted => accepted,
    }
}
