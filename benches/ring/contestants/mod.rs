//! The ring and its contestants. Every contestant does the same work on the same kind of pipes; each definition
//! documents its differences.

mod calloop_tasks;
mod coroutines;
mod ours;
mod peers;
mod polling;
mod raw;
mod returning;
mod tasks;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use polyselect::Backend;
use rustix::pipe::{PipeFlags, pipe_with};

/// A loop over the read ends of pipes.
pub trait Ring {
    /// Runs until the work of at least `events` events is done.
    fn run(&mut self, events: u64) -> io::Result<()>;
}

/// A loop whose iterations the caller runs.
trait Turns {
    /// Waits once, does the work of each event, and returns the number of events.
    fn turn(&mut self) -> io::Result<u64>;
}

impl<L: Turns> Ring for L {
    fn run(&mut self, events: u64) -> io::Result<()> {
        let mut done = 0;
        while done < events {
            done += self.turn()?;
        }
        Ok(())
    }
}

/// Both ends of the pipes. Callbacks and tasks share the write ends.
pub struct Pipes {
    readers: Vec<OwnedFd>,
    writers: Rc<[OwnedFd]>,
}

type Open = fn(Pipes) -> io::Result<Box<dyn Ring>>;

#[derive(Clone, Copy)]
pub struct Contestant {
    pub name: &'static str,
    open: Open,
    /// The backend that the system may lack.
    needs: Backend,
    /// Whether each wait walks all registrations.
    pub walks: bool,
}

const fn on(needs: Backend, name: &'static str, open: Open) -> Contestant {
    let walks = matches!(needs, Backend::Poll | Backend::Select);
    Contestant { name, open, needs, walks }
}

/// The first is the reference for the ratios, the second is the work that all of them have in common.
pub const CONTESTANTS: &[Contestant] = &[
    on(Backend::Epoll, "raw", raw::epoll::<false>),
    on(Backend::Epoll, "bare", raw::bare),
    on(Backend::Epoll, "raw-callback", returning::callback),
    on(Backend::Epoll, "raw-libc", returning::libc),
    on(Backend::Epoll, "raw-edge", raw::epoll::<true>),
    on(Backend::IoUring, "raw-uring", raw::uring::<false>),
    on(Backend::IoUring, "raw-uring-multi", raw::uring::<true>),
    on(Backend::Epoll, "mio", peers::mio),
    on(Backend::Epoll, "polling", polling::level),
    on(Backend::Epoll, "polling-oneshot", polling::oneshot),
    on(Backend::Epoll, "polling-edge", polling::edge),
    on(Backend::Epoll, "calloop", peers::calloop),
    on(Backend::Epoll, "calloop-tasks", calloop_tasks::open),
    on(Backend::Epoll, "tokio", tasks::tokio),
    on(Backend::Epoll, "async-io", tasks::async_io),
    on(Backend::Epoll, "epoll", ours::epoll),
    on(Backend::Epoll, "epoll-edge", ours::epoll_edge),
    on(Backend::Epoll, "shared", ours::shared),
    on(Backend::Epoll, "event-loop", ours::event_loop),
    on(Backend::Epoll, "event-loop-edge", ours::event_loop_edge),
    on(Backend::Epoll, "coroutines", coroutines::epoll),
    on(Backend::IoUring, "io_uring", ours::io_uring),
    on(Backend::IoUring, "io_uring-edge", ours::io_uring_edge),
    on(Backend::Mio, "our-mio", ours::mio),
    on(Backend::Poll, "poll", ours::poll),
    on(Backend::Select, "select", ours::select),
];

/// The work of an event: reads one byte, and writes one to the next pipe.
#[inline]
fn pass_on(reader: BorrowedFd<'_>, index: usize, writers: &[OwnedFd]) -> io::Result<()> {
    let mut byte = [0];
    rustix::io::read(reader, &mut byte)?;
    write_to_next(&byte, index, writers)
}

#[inline]
fn write_to_next(byte: &[u8], index: usize, writers: &[OwnedFd]) -> io::Result<()> {
    let next = if index + 1 < writers.len() { index + 1 } else { 0 };
    rustix::io::write(&writers[next], byte)?;
    Ok(())
}

/// The capacity for the events of a wait, the same for all.
const CAPACITY: usize = 1024;

impl Contestant {
    pub fn is_available(&self) -> bool {
        self.needs.is_available()
    }

    /// Opens a ring with `active` bytes in transit.
    pub fn open(&self, pipes: usize, active: usize) -> io::Result<Box<dyn Ring>> {
        let (mut readers, mut writers) = (Vec::new(), Vec::new());
        for _ in 0..pipes {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            readers.push(reader);
            writers.push(writer);
        }
        for index in 0..active {
            rustix::io::write(&writers[index * pipes / active], b"x")?;
        }
        (self.open)(Pipes { readers, writers: writers.into() })
    }
}
