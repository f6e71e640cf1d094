//! The servers: a task for each connection, on two threads.

use std::future::{Future, pending};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use async_executor::Executor;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use polyselect::{Backend, EventLoop, Events, Interest, Next};

use crate::reactor::{Async, Reactor};
use crate::worker::block_on;

pub struct Contestant {
    pub name: &'static str,
    pub serve: fn(Vec<TcpStream>) -> io::Result<()>,
}

const fn named(name: &'static str, serve: fn(Vec<TcpStream>) -> io::Result<()>) -> Contestant {
    Contestant { name, serve }
}

/// The first is the reference for the ratios.
pub const CONTESTANTS: &[Contestant] = &[
    named("tokio", tokio),
    named("shared-turns", |streams| {
        shared(streams, |executor, run| block_on(executor, run), false)
    }),
    named("shared-thread", |streams| {
        shared(streams, |executor, run| future::block_on(executor.run(run)), true)
    }),
    named("per-core", per_core),
    named("async-io-turns", |streams| {
        async_io(streams, |executor, run| ::async_io::block_on(executor.run(run)))
    }),
    named("async-io-thread", |streams| {
        async_io(streams, |executor, run| future::block_on(executor.run(run)))
    }),
];

const THREADS: usize = 2;
const BUFFER: usize = 4096;

/// The generator resets connections when it is done with them.
fn is_over(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        let result = match stream.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(count) => stream.write_all(&buffer[..count]).await,
            Err(error) => Err(error),
        };
        match result {
            Err(error) if is_over(&error) => return Ok(()),
            result => result?,
        }
    }
}

type Run<'a> = std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + 'a>>;
type BlockOn = fn(&Executor<'_>, Run<'_>) -> io::Result<()>;

/// Runs the tasks of all streams on two threads, of which this is one. The other ends with the process.
fn run<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    streams: Vec<S>,
    block_on: BlockOn,
) -> io::Result<()> {
    let executor = Arc::new(Executor::new());
    let tasks: Vec<_> = streams.into_iter().map(|stream| executor.spawn(echo(stream))).collect();
    for _ in 1..THREADS {
        let executor = Arc::clone(&executor);
        thread::spawn(move || block_on(&executor, Box::pin(pending())));
    }
    let all = async {
        for task in tasks {
            task.await?;
        }
        Ok(())
    };
    block_on(&executor, Box::pin(all))
}

/// This crate: edge-triggered, and never re-armed.
fn shared(streams: Vec<TcpStream>, block_on: BlockOn, has_thread: bool) -> io::Result<()> {
    Reactor::start(Some(Backend::Epoll))?;
    if has_thread {
        thread::spawn(|| {
            let mut events = Events::with_capacity(1024);
            loop {
                let reactor = Reactor::get();
                reactor.select(&mut events, None).expect("no other thread waits");
                reactor.dispatch(&events).expect("nothing is re-armed");
            }
        });
    }
    run(streams.into_iter().map(Async::new).collect::<io::Result<_>>()?, block_on)
}

/// This crate: a loop for each thread, and half of the connections for each loop.
fn per_core(mut streams: Vec<TcpStream>) -> io::Result<()> {
    let half = streams.split_off(streams.len() / 2);
    let other = thread::spawn(|| serve_in_callbacks(half));
    serve_in_callbacks(streams)?;
    other.join().expect("no callback panics")
}

fn serve_in_callbacks(streams: Vec<TcpStream>) -> io::Result<()> {
    let mut event_loop = EventLoop::with_backend(Backend::Epoll, vec![0; BUFFER])?;
    for stream in streams {
        event_loop.register(stream, Interest::READABLE, |event_loop, mut stream, _event| {
            match stream.read(&mut event_loop.state) {
                Ok(0) => return Ok(Next::Remove),
                // A message of 64 bytes always fits into the socket's buffer.
                Ok(count) => stream.write_all(&event_loop.state[..count])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_over(&error) => return Ok(Next::Remove),
                Err(error) => return Err(error),
            }
            Ok(Next::Keep)
        })?;
    }
    event_loop.run()
}

/// async-io: one-shot, and re-armed for each wait of a task. Its thread waits unless another one does.
fn async_io(streams: Vec<TcpStream>, block_on: BlockOn) -> io::Result<()> {
    let streams = streams.into_iter().map(::async_io::Async::new_nonblocking);
    run(streams.collect::<io::Result<_>>()?, block_on)
}

/// tokio: edge-triggered. One worker waits when both have nothing to do.
fn tokio(streams: Vec<TcpStream>) -> io::Result<()> {
    use ::tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn echo(mut stream: ::tokio::net::TcpStream) -> io::Result<()> {
        let mut buffer = [0; BUFFER];
        loop {
            let result = match stream.read(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(count) => stream.write_all(&buffer[..count]).await,
                Err(error) => Err(error),
            };
            match result {
                Err(error) if is_over(&error) => return Ok(()),
                result => result?,
            }
        }
    }

    let mut builder = ::tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(THREADS).enable_io().build()?;
    runtime.block_on(async {
        let streams = streams.into_iter().map(::tokio::net::TcpStream::from_std);
        let streams = streams.collect::<io::Result<Vec<_>>>()?;
        let tasks: Vec<_> =
            streams.into_iter().map(|stream| ::tokio::spawn(echo(stream))).collect();
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}
