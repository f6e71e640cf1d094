//! calloop with its executor: a task for each pipe, which waits, reads and writes for ever; one-shot,
//! re-armed by each wait.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use ::calloop::EventLoop;
use ::calloop::futures::executor;

use super::{Pipes, Ring, pass_on};

struct Tasks {
    event_loop: EventLoop<'static, usize>,
    writers: Rc<[OwnedFd]>,
    left: Rc<Cell<u64>>,
    is_over: Rc<Cell<bool>>,
}

pub fn open(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    let event_loop = EventLoop::try_new().map_err(io::Error::other)?;
    let handle = event_loop.handle();
    let (tasks, scheduler) = executor().map_err(io::Error::other)?;
    handle
        .insert_source(tasks, |_: io::Result<()>, (), ended: &mut usize| *ended += 1)
        .map_err(|error| io::Error::other(error.error))?;
    let (left, is_over) = (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(false)));
    for (index, reader) in pipes.readers.into_iter().enumerate() {
        let mut reader = handle.adapt_io(reader).map_err(io::Error::other)?;
        let writers = Rc::clone(&pipes.writers);
        let (left, is_over) = (Rc::clone(&left), Rc::clone(&is_over));
        let task = async move {
            while !is_over.get() {
                reader.readable().await;
                pass_on(reader.get_mut().as_fd(), index, &writers)?;
                left.set(left.get().saturating_sub(1));
            }
            Ok(())
        };
        scheduler.schedule(task).map_err(io::Error::other)?;
    }
    Ok(Box::new(Tasks { event_loop, writers: pipes.writers, left, is_over }))
}

impl Ring for Tasks {
    fn run(&mut self, events: u64) -> io::Result<()> {
        self.left.set(events);
        while self.left.get() > 0 {
            self.event_loop.dispatch(None, &mut 0).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// A waiting task cannot be dropped before its source. So all are woken, and end.
impl Drop for Tasks {
    fn drop(&mut self) {
        self.is_over.set(true);
        for writer in &*self.writers {
            rustix::io::write(writer, b"x").expect("there is room");
        }
        let mut ended = 0;
        while ended < self.writers.len() {
            self.event_loop.dispatch(None, &mut ended).expect("goes on");
        }
    }
}
