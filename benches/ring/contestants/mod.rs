//! The ring, and who runs it. Every contestant does the same work on the same kind of pipes; what
//! differs is noted where it is defined.

mod ours;
mod peers;
mod polling;
mod raw;
mod tasks;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::pipe::{PipeFlags, pipe_with};

/// A loop over the read ends of pipes.
pub trait Ring {
    /// Runs until so many events have had their work done, or a few more.
    fn run(&mut self, events: u64) -> io::Result<()>;
}

/// A loop that its user turns.
trait Turns {
    /// Waits once, does the work of each event, and says how many there were.
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

/// Both ends of the pipes. The write ends can be had by many, as callbacks and tasks need it.
pub struct Pipes {
    readers: Vec<OwnedFd>,
    writers: Rc<[OwnedFd]>,
}

#[derive(Clone, Copy)]
pub struct Contestant {
    pub name: &'static str,
    open: fn(Pipes) -> io::Result<Box<dyn Ring>>,
    /// Whether each wait walks all that is registered.
    pub walks: bool,
}

/// The first is what the others are compared with, the second is what all of them have in common.
pub const CONTESTANTS: &[Contestant] = &[
    Contestant { name: "raw", open: raw::epoll::<false>, walks: false },
    Contestant { name: "bare", open: raw::bare, walks: false },
    Contestant { name: "raw-edge", open: raw::epoll::<true>, walks: false },
    Contestant { name: "raw-uring", open: raw::uring::<false>, walks: false },
    Contestant { name: "raw-uring-multi", open: raw::uring::<true>, walks: false },
    Contestant { name: "mio", open: peers::mio, walks: false },
    Contestant { name: "polling", open: polling::level, walks: false },
    Contestant { name: "polling-oneshot", open: polling::oneshot, walks: false },
    Contestant { name: "polling-edge", open: polling::edge, walks: false },
    Contestant { name: "calloop", open: peers::calloop, walks: false },
    Contestant { name: "tokio", open: tasks::tokio, walks: false },
    Contestant { name: "async-io", open: tasks::async_io, walks: false },
    Contestant { name: "epoll", open: ours::epoll, walks: false },
    Contestant { name: "epoll-edge", open: ours::epoll_edge, walks: false },
    Contestant { name: "event-loop", open: ours::event_loop, walks: false },
    Contestant { name: "io_uring", open: ours::io_uring, walks: false },
    Contestant { name: "io_uring-edge", open: ours::io_uring_edge, walks: false },
    Contestant { name: "our-mio", open: ours::mio, walks: false },
    Contestant { name: "poll", open: ours::poll, walks: true },
    Contestant { name: "select", open: ours::select, walks: true },
];

/// What an event is for: one byte in, one byte out to the next pipe.
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

/// Room for the events of a turn, the same for all.
const CAPACITY: usize = 1024;

impl Contestant {
    /// A ring with `active` bytes under way.
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
