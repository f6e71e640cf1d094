//! This crate's tasks: one for each pipe, which waits, reads and writes in a loop;
//! edge-triggered.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, PipeReader};
use std::rc::Rc;
use std::task::{Poll, Waker};

use polyselect::asyncio::Async;
use polyselect::{Backend, EventLoop};

use super::{Pipes, Ring, write_to_next};

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
                let mut byte = [0];
                match reader.try_read(&mut byte) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    result => result?,
                };
                write_to_next(&byte, index, &writers)?;
                let left = shared.left.get();
                shared.left.set(left.saturating_sub(1));
                if left == 1 {
                    shared.done.take().into_iter().for_each(Waker::wake);
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
