//! This crate's coroutines: one for each connection; edge-triggered. The buffer is shared here too:
//! nothing in it outlasts the work of an event.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;

use polyselect::asyncio::Async;
use polyselect::{Backend, EventLoop};

use crate::connection::{BUFFER, Direction, Turn, Unsent};

/// The stream without the waiting.
struct Try<'a>(&'a Async<TcpStream>);

impl Read for Try<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Try<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn epoll(streams: Vec<TcpStream>) -> io::Result<()> {
    let mut event_loop = EventLoop::with_backend(Backend::Epoll, ())?;
    let buffer = Rc::new(RefCell::new(vec![0; BUFFER]));
    let mut tasks = Vec::with_capacity(streams.len());
    for stream in streams {
        let stream = Async::new(stream)?;
        let (mut unsent, buffer) = (Unsent::default(), Rc::clone(&buffer));
        tasks.push(event_loop.spawn(async move {
            loop {
                match unsent.direction() {
                    Direction::Reading => stream.readable().await?,
                    Direction::Writing => stream.writable().await?,
                }
                if let Turn::Closed = unsent.echo(Try(&stream), &mut buffer.borrow_mut())? {
                    return io::Result::Ok(());
                }
            }
        }));
    }
    event_loop.block_on(async {
        for task in tasks {
            task.await??;
        }
        Ok(())
    })?
}
