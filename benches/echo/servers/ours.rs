//! This crate: the selector on each backend, and the event loop.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use polyselect::{Backend, EventLoop, Events, Interest, Next, Selector, Watch};

use super::CAPACITY;
use crate::connection::{BUFFER, Direction, Turn, Unsent};

pub fn epoll(streams: Vec<TcpStream>) -> io::Result<()> {
    selector(Backend::Epoll, Interest::READABLE.into(), streams)
}

pub fn epoll_edge(streams: Vec<TcpStream>) -> io::Result<()> {
    selector(Backend::Epoll, Interest::READABLE.edge(), streams)
}

pub fn io_uring(streams: Vec<TcpStream>) -> io::Result<()> {
    selector(Backend::IoUring, Interest::READABLE.into(), streams)
}

pub fn io_uring_edge(streams: Vec<TcpStream>) -> io::Result<()> {
    selector(Backend::IoUring, Interest::READABLE.edge(), streams)
}

pub fn mio(streams: Vec<TcpStream>) -> io::Result<()> {
    selector(Backend::Mio, Interest::READABLE.into(), streams)
}

pub fn poll(streams: Vec<TcpStream>) -> io::Result<()> {
    selector(Backend::Poll, Interest::READABLE.into(), streams)
}

pub fn select(streams: Vec<TcpStream>) -> io::Result<()> {
    selector(Backend::Select, Interest::READABLE.into(), streams)
}

/// Looks for 50 µs before each sleep.
pub fn epoll_busy(streams: Vec<TcpStream>) -> io::Result<()> {
    let mut selector = Selector::with_backend(Backend::Epoll)?;
    selector.set_busy_poll(Duration::from_micros(50));
    serve(selector, Interest::READABLE.into(), streams)
}

fn interest(direction: Direction) -> Interest {
    match direction {
        Direction::Reading => Interest::READABLE,
        Direction::Writing => Interest::WRITABLE,
    }
}

fn selector(backend: Backend, watch: Watch, streams: Vec<TcpStream>) -> io::Result<()> {
    serve(Selector::with_backend(backend)?, watch, streams)
}

/// The selector owns the connections; unsent bytes are the data of each.
fn serve(
    mut selector: Selector<TcpStream, Unsent>,
    watch: Watch,
    streams: Vec<TcpStream>,
) -> io::Result<()> {
    for stream in streams {
        selector.register(stream, watch, Unsent::default())?;
    }
    let (mut events, mut buffer) = (Events::with_capacity(CAPACITY), vec![0; BUFFER]);
    while !selector.is_empty() {
        selector.select(&mut events, None)?;
        for event in &events {
            let Some(connection) = selector.get_mut(event.key) else { continue };
            match connection.data.echo(connection.source, &mut buffer)? {
                Turn::Same => {}
                Turn::Wants(direction) => selector.modify(event.key, interest(direction))?,
                Turn::Closed => drop(selector.unregister(event.key)?),
            }
        }
    }
    Ok(())
}

/// The buffer is the loop's state; each closure has the unsent bytes of its connection.
pub fn event_loop(streams: Vec<TcpStream>) -> io::Result<()> {
    let mut event_loop = EventLoop::with_backend(Backend::Epoll, vec![0; BUFFER])?;
    for stream in streams {
        let mut unsent = Unsent::default();
        event_loop.register(stream, Interest::READABLE, move |event_loop, stream, _event| {
            Ok(match unsent.echo(stream, &mut event_loop.state)? {
                Turn::Same => Next::Keep,
                Turn::Wants(direction) => Next::Modify(interest(direction)),
                Turn::Closed => Next::Remove,
            })
        })?;
    }
    event_loop.run()
}
