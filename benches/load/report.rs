//! The report of a server on request: a line of numbers.

use std::cell::Cell;
use std::rc::Rc;
use std::str::FromStr;
use std::{fmt, fs, io, process};

use polyselect::EventLoop;
use polyselect_benches::memory_of;

use crate::HEAP;

/// Counters that the callbacks and tasks of a server share.
#[derive(Default)]
pub struct Counts {
    open: Cell<u64>,
    /// The most that were open at once.
    peak: Cell<u64>,
    accepted: Cell<u64>,
    idled: Cell<u64>,
    reset: Cell<u64>,
    queued: Cell<u64>,
    failed: Cell<u64>,
}

/// How a connection ended for the server.
pub enum Ending {
    Closed,
    /// By its idle timer.
    Idled,
    Failed(io::Error),
}

impl Counts {
    /// Counts a connection.
    pub fn accepted(&self) {
        self.accepted.update(|accepted| accepted + 1);
        self.open.update(|open| open + 1);
        self.peak.set(self.peak.get().max(self.open.get()));
    }

    /// Counts the end of a connection.
    pub fn ended(&self, ending: &Ending) {
        self.open.update(|open| open - 1);
        match ending {
            Ending::Closed => {}
            Ending::Idled => self.idled.update(|idled| idled + 1),
            Ending::Failed(error) => match error.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    self.reset.update(|reset| reset + 1);
                }
                _ => {
                    eprintln!("a connection failed: {error}");
                    self.failed();
                }
            },
        }
    }

    /// Counts an error.
    pub fn failed(&self) {
        self.failed.update(|failed| failed + 1);
    }

    /// Counts a write that had to wait.
    pub fn queued(&self) {
        self.queued.update(|queued| queued + 1);
    }
}

/// The numbers of the line.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Entries of `/proc/self/fd`.
    pub descriptors: u64,
    pub timers: u64,
    /// Registrations and tasks.
    pub sources: u64,
    /// Bytes that are allocated.
    pub heap: u64,
    /// Resident, in KiB.
    pub resident: u64,
    pub open: u64,
    pub peak: u64,
    pub accepted: u64,
    pub idled: u64,
    pub reset: u64,
    pub queued: u64,
    pub failed: u64,
}

impl Report {
    /// In the server.
    pub fn of(event_loop: &EventLoop<Rc<Counts>>) -> io::Result<Self> {
        let (stats, counts) = (event_loop.stats(), &event_loop.state);
        // Includes the descriptor that reads the folder.
        let descriptors = fs::read_dir("/proc/self/fd")?.count() as u64 - 1;
        Ok(Self {
            descriptors,
            timers: stats.pending_timers as u64,
            sources: (stats.sources + stats.tasks) as u64,
            heap: HEAP.current_usage() as u64,
            resident: memory_of(process::id())?,
            open: counts.open.get(),
            peak: counts.peak.get(),
            accepted: counts.accepted.get(),
            idled: counts.idled.get(),
            reset: counts.reset.get(),
            queued: counts.queued.get(),
            failed: counts.failed.get(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { descriptors, timers, sources, heap, resident, open, .. } = self;
        let Self { peak, accepted, idled, reset, queued, failed, .. } = self;
        write!(f, "{descriptors} {timers} {sources} {heap} {resident} {open} ")?;
        write!(f, "{peak} {accepted} {idled} {reset} {queued} {failed}")
    }
}

impl FromStr for Report {
    type Err = io::Error;

    fn from_str(line: &str) -> io::Result<Self> {
        let mut numbers = line.split(' ').map(str::parse);
        let mut next = || {
            let number = numbers.next().and_then(Result::ok);
            number.ok_or_else(|| io::Error::other(format!("not a report: {line:?}")))
        };
        // In the order in which they are written.
        Ok(Self {
            descriptors: next()?,
            timers: next()?,
            sources: next()?,
            heap: next()?,
            resident: next()?,
            open: next()?,
            peak: next()?,
            accepted: next()?,
            idled: next()?,
            reset: next()?,
            queued: next()?,
            failed: next()?,
        })
    }
}
