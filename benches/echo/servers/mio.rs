//! mio, edge-triggered, with streams of its own; the token is a place in a table.

use std::io;
use std::net::TcpStream;

use super::CAPACITY;
use crate::connection::{BUFFER, Direction, Turn, Unsent};

fn interest(direction: Direction) -> ::mio::Interest {
    match direction {
        Direction::Reading => ::mio::Interest::READABLE,
        Direction::Writing => ::mio::Interest::WRITABLE,
    }
}

pub fn serve(streams: Vec<TcpStream>) -> io::Result<()> {
    let mut poll = ::mio::Poll::new()?;
    let mut connections = Vec::with_capacity(streams.len());
    for (index, stream) in streams.into_iter().enumerate() {
        let mut stream = ::mio::net::TcpStream::from_std(stream);
        let wanted = interest(Direction::Reading);
        poll.registry().register(&mut stream, ::mio::Token(index), wanted)?;
        connections.push(Some((stream, Unsent::default())));
    }
    let (mut open, mut buffer) = (connections.len(), vec![0; BUFFER]);
    let mut events = ::mio::Events::with_capacity(CAPACITY);
    while open > 0 {
        poll.poll(&mut events, None)?;
        for event in &events {
            let place = &mut connections[event.token().0];
            let Some((stream, unsent)) = place else { continue };
            match unsent.echo(&*stream, &mut buffer)? {
                Turn::Same => {}
                Turn::Wants(direction) => {
                    let wanted = interest(direction);
                    poll.registry().reregister(stream, event.token(), wanted)?;
                }
                Turn::Closed => {
                    poll.registry().deregister(stream)?;
                    *place = None;
                    open -= 1;
                }
            }
        }
    }
    Ok(())
}
