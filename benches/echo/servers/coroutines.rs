//! This crate's tasks: one for each connection; edge-triggered. The tasks share the buffer, because
//! nothing stays in it after the work of an event.

use std::cell::RefCell;
use std::io;
use std::net::TcpStream;
use std::rc::Rc;

use polyselect::asyncio::Async;
use polyselect::{Backend, EventLoop};

use crate::connection::{BUFFER, Direction, Try, Turn, Unsent};

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
                let stream =
                    Try(|to: &mut _| stream.try_read(to), |from: &_| stream.try_write(from));
                if let Turn::Closed = unsent.echo(stream, &mut buffer.borrow_mut())? {
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
