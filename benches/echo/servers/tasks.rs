//! Crates with tasks: one for each connection, on one thread. The tasks share the buffer, because nothing
//! stays in it after the work of an event.

use std::cell::RefCell;
use std::io;
use std::net::TcpStream;
use std::rc::Rc;

use ::async_io::Async;
use ::tokio::task::LocalSet;
use async_executor::LocalExecutor;

use crate::connection::{BUFFER, Direction, Try, Turn, Unsent};

/// tokio, edge-triggered: a `current_thread` runtime and a `LocalSet`.
pub fn tokio(streams: Vec<TcpStream>) -> io::Result<()> {
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let buffer = Rc::new(RefCell::new(vec![0; BUFFER]));
    LocalSet::new().block_on(&runtime, async {
        let mut tasks = Vec::with_capacity(streams.len());
        for stream in streams {
            let stream = ::tokio::net::TcpStream::from_std(stream)?;
            let (mut unsent, buffer) = (Unsent::default(), Rc::clone(&buffer));
            tasks.push(::tokio::task::spawn_local(async move {
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
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}

/// async-io, one-shot: each wait for a connection re-arms it. Its own thread sleeps while this one waits.
pub fn async_io(streams: Vec<TcpStream>) -> io::Result<()> {
    let executor = LocalExecutor::new();
    let buffer = Rc::new(RefCell::new(vec![0; BUFFER]));
    let mut tasks = Vec::with_capacity(streams.len());
    for stream in streams {
        let stream = Async::new_nonblocking(stream)?;
        let (mut unsent, buffer) = (Unsent::default(), Rc::clone(&buffer));
        tasks.push(executor.spawn(async move {
            loop {
                match unsent.direction() {
                    Direction::Reading => stream.readable().await?,
                    Direction::Writing => stream.writable().await?,
                }
                let stream = stream.get_ref();
                if let Turn::Closed = unsent.echo(stream, &mut buffer.borrow_mut())? {
                    return io::Result::Ok(());
                }
            }
        }));
    }
    ::async_io::block_on(executor.run(async {
        for task in tasks {
            task.await?;
        }
        Ok(())
    }))
}
