//! This crate's coroutines: a task for each pipe, which reads and writes for ever.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, PipeReader};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::{Poll, Waker};

use polyselect::asyncio::Async;
use polyselect::{Backend, EventLoop};

use super::{Pipes, Ring, pass_on};

struct Coroutines {
    event_loop: EventLoop,
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    left: Cell<u64>,
    done: Cell<Option<Waker>>,
}

pub fn epoll(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    let mut event_loop = EventLoop::with_backend(Backend::Epoll, ())?;
    let shared = Rc::new(Shared::default());
    for (index, reader) in pipes.readers.into_iter().enumerate() {
        let reader = Async::new(PipeReader::from(reader))?;
        let (writers, shared) = (Rc::clone(&pipes.writers), Rc::clone(&shared));
        let task = async move {
            loop {
                reader.readable().await?;
                pass_on(reader.get_ref().as_fd(), index, &writers)?;
                let left = shared.left.get();
                shared.left.set(left.saturating_sub(1));
                if left == 1
                    && let Some(waker) = shared.done.take()
                {
                    waker.wake();
                }
            }
            #[allow(unreachable_code)] // It gives the block its type.
            io::Result::Ok(())
        };
        event_loop.spawn(task).detach();
    }
    Ok(Box::new(Coroutines { event_loop, shared }))
}

impl Ring for Coroutines {
    fn run(&mut self, events: u64) -> io::Result<()> {
        self.shared.left.set(events);
        let shared = Rc::clone(&self.shared);
        self.event_loop.block_on(poll_fn(|context| {
            if shared.left.get() == 0 {
                return Poll::Ready(());
            }
            shared.done.set(Some(context.waker().clone()));
            Poll::Pending
        }))
    }
}
