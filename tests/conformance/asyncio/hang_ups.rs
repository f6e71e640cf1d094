//! Connections that end while a task waits to write.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use polyselect::asyncio::{self, Async};
use polyselect::{Backend, EventLoop};

use crate::event_loop::open;
use crate::support::*;

cases! {
    a_writer_without_room_learns_that_the_connection_was_shut_down,
    a_writer_beside_a_reader_learns_that_the_connection_was_shut_down,
}

/// A connection whose buffer is full, and whose peer reads nothing.
fn full() -> (Async<UnixStream>, UnixStream) {
    let (left, right) = UnixStream::pair().unwrap();
    left.set_nonblocking(true).unwrap();
    fill(&left);
    (Async::new(left).unwrap(), right)
}

/// Lets a task wait to write, shuts the connection down in both directions, and expects the task to
/// end.
fn shut_down_while_it_writes(event_loop: &mut EventLoop, left: &Async<UnixStream>) {
    let writing = left.clone();
    let writer = event_loop.spawn(async move { writing.write_all(b"the rest").await });
    for _ in 0..3 {
        event_loop.turn(Duration::ZERO).unwrap();
    }
    assert!(!writer.is_finished());
    left.get_ref().shutdown(Shutdown::Both).unwrap();
    let written = event_loop.block_on(asyncio::timeout(SURELY, writer)).unwrap();
    let error = written.expect("the writer ends").unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

fn a_writer_without_room_learns_that_the_connection_was_shut_down(backend: Backend) {
    if backend == Backend::Select {
        skip("select reports a hang-up only with interest in reading");
    }
    let mut event_loop = open(backend, ());
    let (left, _right) = full();
    shut_down_while_it_writes(&mut event_loop, &left);
}

fn a_writer_beside_a_reader_learns_that_the_connection_was_shut_down(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, _right) = full();
    let reading = left.clone();
    let reader = event_loop.spawn(async move { reading.read(&mut [0]).await });
    shut_down_while_it_writes(&mut event_loop, &left);
    assert_eq!(event_loop.block_on(reader).unwrap().unwrap().unwrap(), 0);
}
