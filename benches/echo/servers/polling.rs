//! polling, in its three modes, and a table of connections.

#![allow(unsafe_code)] // Its `add` trusts the caller not to close what is registered.

use std::io;
use std::net::TcpStream;
use std::num::NonZeroUsize;

use ::polling::{Event, Events, PollMode, Poller};

use super::CAPACITY;
use crate::connection::{BUFFER, Connection, Direction, Turn};

pub fn level(streams: Vec<TcpStream>) -> io::Result<()> {
    serve(streams, PollMode::Level)
}

/// Each event disarms the connection, which is re-armed after it was served.
pub fn oneshot(streams: Vec<TcpStream>) -> io::Result<()> {
    serve(streams, PollMode::Oneshot)
}

pub fn edge(streams: Vec<TcpStream>) -> io::Result<()> {
    serve(streams, PollMode::Edge)
}

fn wanted(index: usize, direction: Direction) -> Event {
    match direction {
        Direction::Reading => Event::readable(index),
        Direction::Writing => Event::writable(index),
    }
}

fn serve(streams: Vec<TcpStream>, mode: PollMode) -> io::Result<()> {
    let mut connections: Vec<_> =
        streams.into_iter().map(|stream| Some(Connection::new(stream))).collect();
    let poller = Poller::new()?;
    for (index, connection) in connections.iter().flatten().enumerate() {
        // SAFETY: a connection is deleted before it is closed, or dropped after the poller.
        unsafe { poller.add_with_mode(&connection.stream, Event::readable(index), mode)? };
    }
    let (mut open, mut buffer) = (connections.len(), vec![0; BUFFER]);
    let mut events = Events::with_capacity(NonZeroUsize::new(CAPACITY).expect("is not zero"));
    while open > 0 {
        events.clear();
        poller.wait(&mut events, None)?;
        for event in events.iter() {
            let place = &mut connections[event.key];
            let Some(connection) = place else { continue };
            let direction = match connection.echo(&mut buffer)? {
                Turn::Same if mode == PollMode::Oneshot => connection.unsent.direction(),
                Turn::Same => continue,
                Turn::Wants(direction) => direction,
                Turn::Closed => {
                    poller.delete(&connection.stream)?;
                    *place = None;
                    open -= 1;
                    continue;
                }
            };
            poller.modify_with_mode(&connection.stream, wanted(event.key, direction), mode)?;
        }
    }
    Ok(())
}
