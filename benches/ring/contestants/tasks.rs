//! Crates with tasks: one for each pipe, which waits, reads and writes for ever.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use ::async_io::Async;
use ::tokio::net::unix::pipe::Receiver;
use ::tokio::runtime::Runtime;
use ::tokio::sync::Notify;
use ::tokio::task::LocalSet;
use async_executor::LocalExecutor;

use super::{Pipes, Ring, write_to_next};

/// tokio on one thread, edge-triggered.
struct Tokio {
    runtime: Runtime,
    tasks: LocalSet,
    left: Rc<Cell<u64>>,
    done: Rc<Notify>,
}

pub fn tokio(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (tasks, left, done) = (LocalSet::new(), Rc::new(Cell::new(0_u64)), Rc::new(Notify::new()));
    let inside = runtime.enter();
    for (index, reader) in pipes.readers.into_iter().enumerate() {
        let reader = Receiver::from_owned_fd(reader)?;
        let (writers, left, done) = (Rc::clone(&pipes.writers), Rc::clone(&left), Rc::clone(&done));
        tasks.spawn_local(async move {
            loop {
                reader.readable().await?;
                let mut byte = [0];
                match reader.try_read(&mut byte) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    result => result?,
                };
                write_to_next(&byte, index, &writers)?;
                // Only the last event that counts notifies.
                if left.replace(left.get().saturating_sub(1)) == 1 {
                    done.notify_one();
                }
            }
            #[allow(unreachable_code)] // It gives the block its type.
            io::Result::Ok(())
        });
    }
    drop(inside);
    Ok(Box::new(Tokio { runtime, tasks, left, done }))
}

impl Ring for Tokio {
    fn run(&mut self, events: u64) -> io::Result<()> {
        self.left.set(events);
        self.tasks.block_on(&self.runtime, self.done.notified());
        Ok(())
    }
}

/// async-io, which is one-shot: each wait for a pipe re-arms it, and disarms it if a read would block first. The
/// executor is async-executor's for one thread.
struct AsyncIo {
    executor: LocalExecutor<'static>,
    left: Rc<Cell<u64>>,
    done: Rc<Notify>,
}

pub fn async_io(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    let executor = LocalExecutor::new();
    let (left, done) = (Rc::new(Cell::new(0_u64)), Rc::new(Notify::new()));
    for (index, reader) in pipes.readers.into_iter().enumerate() {
        let reader = Async::new_nonblocking(reader)?;
        let (writers, left, done) = (Rc::clone(&pipes.writers), Rc::clone(&left), Rc::clone(&done));
        let task = executor.spawn(async move {
            loop {
                reader.readable().await?;
                let mut byte = [0];
                match rustix::io::read(&reader, &mut byte) {
                    Err(rustix::io::Errno::AGAIN) => continue,
                    result => result?,
                };
                write_to_next(&byte, index, &writers)?;
                if left.replace(left.get().saturating_sub(1)) == 1 {
                    done.notify_one();
                }
            }
            #[allow(unreachable_code)] // It gives the block its type.
            io::Result::Ok(())
        });
        task.detach();
    }
    Ok(Box::new(AsyncIo { executor, left, done }))
}

impl Ring for AsyncIo {
    fn run(&mut self, events: u64) -> io::Result<()> {
        self.left.set(events);
        // tokio's `Notify` needs no runtime; it is used here for being the same as above.
        ::async_io::block_on(self.executor.run(self.done.notified()));
        Ok(())
    }
}
