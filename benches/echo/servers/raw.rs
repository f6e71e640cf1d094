//! The reference for the others: system calls, and a table of connections.

use std::io;
use std::net::TcpStream;

use polyselect_benches::PollRing;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFlags, epoll};
use rustix::io::retry_on_intr;

use super::CAPACITY;
use crate::connection::{BUFFER, Connection, Direction, Turn};

pub fn epoll<const EDGE: bool>(streams: Vec<TcpStream>) -> io::Result<()> {
    let flags = |direction| {
        let mut flags = match direction {
            Direction::Reading => epoll::EventFlags::IN,
            Direction::Writing => epoll::EventFlags::OUT,
        };
        flags.set(epoll::EventFlags::ET, EDGE);
        flags
    };
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut connections = table(streams);
    for (index, connection) in connections.iter().flatten().enumerate() {
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&epoll, &connection.stream, data, flags(Direction::Reading))?;
    }
    let (mut open, mut buffer) = (connections.len(), vec![0; BUFFER]);
    let mut events = Vec::with_capacity(CAPACITY);
    while open > 0 {
        events.clear();
        retry_on_intr(|| epoll::wait(&epoll, spare_capacity(&mut events), None))?;
        for event in &events {
            let place = &mut connections[{ event.data }.u64() as usize];
            let Some(connection) = place else { continue };
            match connection.echo(&mut buffer)? {
                Turn::Same => {}
                Turn::Wants(direction) => {
                    epoll::modify(&epoll, &connection.stream, event.data, flags(direction))?;
                }
                Turn::Closed => {
                    *place = None;
                    open -= 1;
                }
            }
        }
    }
    Ok(())
}

/// io_uring, only for waiting: a poll, which the next wait re-arms after each event.
pub fn uring(streams: Vec<TcpStream>) -> io::Result<()> {
    let mut ring = PollRing::new(streams.len() as u32)?;
    let mut connections = table(streams);
    for (index, connection) in connections.iter().flatten().enumerate() {
        ring.arm(&connection.stream, PollFlags::IN, index as u64)?;
    }
    let (mut open, mut buffer) = (connections.len(), vec![0; BUFFER]);
    let mut completed = Vec::with_capacity(CAPACITY);
    while open > 0 {
        completed.clear();
        ring.wait(&mut completed)?;
        for poll in &completed {
            let place = &mut connections[poll.data as usize];
            let Some(connection) = place else { continue };
            if let Turn::Closed = connection.echo(&mut buffer)? {
                *place = None;
                open -= 1;
                continue;
            }
            let flags = match connection.unsent.direction() {
                Direction::Reading => PollFlags::IN,
                Direction::Writing => PollFlags::OUT,
            };
            ring.arm(&connection.stream, flags, poll.data)?;
        }
    }
    Ok(())
}

fn table(streams: Vec<TcpStream>) -> Vec<Option<Connection>> {
    streams.into_iter().map(|stream| Some(Connection::new(stream))).collect()
}
