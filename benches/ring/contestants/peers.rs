//! Other crates with loops and callbacks, each as its users would write it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;

use ::calloop::generic::Generic;
use ::calloop::{EventLoop, Mode, PostAction};

use super::{CAPACITY, Pipes, Ring, Turns, pass_on};

/// mio: edge-triggered, the token being the index into the readers; it looks nothing up.
struct Mio {
    poll: ::mio::Poll,
    pipes: Pipes,
    events: ::mio::Events,
}

pub fn mio(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    let poll = ::mio::Poll::new()?;
    for (index, reader) in pipes.readers.iter().enumerate() {
        let number = reader.as_raw_fd();
        let mut source = ::mio::unix::SourceFd(&number);
        poll.registry().register(&mut source, ::mio::Token(index), ::mio::Interest::READABLE)?;
    }
    Ok(Box::new(Mio { poll, pipes, events: ::mio::Events::with_capacity(CAPACITY) }))
}

impl Turns for Mio {
    fn turn(&mut self) -> io::Result<u64> {
        self.poll.poll(&mut self.events, None)?;
        let mut count = 0;
        for event in &self.events {
            if event.is_readable() {
                let index = event.token().0;
                pass_on(self.pipes.readers[index].as_fd(), index, &self.pipes.writers)?;
            }
            count += 1;
        }
        Ok(count)
    }
}

/// calloop: a source for each pipe, level-triggered, with a callback; the writers and the count are
/// the data that it lends to callbacks.
struct Calloop {
    event_loop: EventLoop<'static, CalloopData>,
    data: CalloopData,
}

struct CalloopData {
    writers: Rc<[OwnedFd]>,
    events: u64,
}

pub fn calloop(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    let event_loop = EventLoop::<CalloopData>::try_new().map_err(io::Error::other)?;
    for (index, reader) in pipes.readers.into_iter().enumerate() {
        let source = Generic::new(reader, ::calloop::Interest::READ, Mode::Level);
        event_loop
            .handle()
            .insert_source(source, move |_, reader, data| {
                pass_on(reader.as_fd(), index, &data.writers)?;
                data.events += 1;
                Ok(PostAction::Continue)
            })
            .map_err(io::Error::other)?;
    }
    let data = CalloopData { writers: pipes.writers, events: 0 };
    Ok(Box::new(Calloop { event_loop, data }))
}

impl Ring for Calloop {
    fn run(&mut self, events: u64) -> io::Result<()> {
        self.data.events = 0;
        while self.data.events < events {
            self.event_loop.dispatch(None, &mut self.data).map_err(io::Error::other)?;
        }
        Ok(())
    }
}
