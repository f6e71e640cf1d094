//! Accepting connections.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use polyselect::{Backend, EventLoop, Interest};

use super::open;
use crate::support::*;

cases! {
    connections_arrive_non_blocking_with_their_address,
    a_turn_accepts_a_bounded_batch,
    an_error_of_one_connection_does_not_end_the_accepting,
    the_callback_may_pause_and_close_the_listener,
    a_listener_can_be_taken_back,
    #[cfg(unix)]
    unix_listeners_accept,
    #[cfg(unix)]
    a_listener_rests_when_descriptors_run_out in virtual time,
    #[cfg(unix)]
    a_listener_paused_during_a_rest_stays_paused in virtual time,
}

fn listen() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn connections_arrive_non_blocking_with_their_address(backend: Backend) {
    let (listener, address) = listen();
    let mut event_loop = open(backend, Vec::new());
    event_loop
        .accept(listener, |event_loop, mut conn, address| {
            assert_eq!(conn.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            conn.write_all(b"hello")?;
            event_loop.state.push(address);
            Ok(())
        })
        .unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, [client.local_addr().unwrap()]);
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
}

fn a_turn_accepts_a_bounded_batch(backend: Backend) {
    let (listener, address) = listen();
    let mut event_loop = open(backend, 0);
    event_loop
        .accept(listener, |event_loop, _, _| {
            event_loop.state += 1;
            Ok(())
        })
        .unwrap();
    let _clients: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    event_loop.turn(SURELY).unwrap();
    assert!(event_loop.state <= 64, "{}", event_loop.state);
    while event_loop.state < 100 {
        event_loop.turn(SURELY).unwrap();
    }
}

fn an_error_of_one_connection_does_not_end_the_accepting(backend: Backend) {
    let (listener, address) = listen();
    let mut event_loop = open(backend, (Vec::new(), Vec::new()));
    event_loop.on_error(|event_loop, key, error| event_loop.state.1.push((key, error.kind())));
    let key = event_loop
        .accept(listener, |event_loop, _, address| {
            event_loop.state.0.push(address);
            Err(io::ErrorKind::InvalidData.into())
        })
        .unwrap();
    let _first = TcpStream::connect(address).unwrap();
    // Some systems drop connections that are reset before they are accepted.
    let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    clients.into_iter().for_each(reset);
    let last = TcpStream::connect(address).unwrap();
    while !event_loop.state.0.contains(&last.local_addr().unwrap()) {
        event_loop.turn(SURELY).unwrap();
    }
    let (accepted, errors) = &event_loop.state;
    assert!(accepted.len() >= 2);
    assert_eq!(*errors, vec![(key, io::ErrorKind::InvalidData); accepted.len()]);
    assert!(event_loop.contains(key));
}

fn the_callback_may_pause_and_close_the_listener(backend: Backend) {
    let (listener, address) = listen();
    let mut event_loop = open(backend, 0);
    let key = event_loop.register_listener(listener).unwrap();
    let _clients: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
    event_loop.turn(SURELY).unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
    assert_eq!(event_loop.state, 1, "it is paused");
    event_loop.modify(key, Interest::READABLE).unwrap();
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 2, "it is closed");
    event_loop.run().unwrap();
}

trait RegisterListener {
    fn register_listener(&mut self, listener: TcpListener) -> io::Result<polyselect::Key>;
}

impl RegisterListener for EventLoop<u32> {
    /// Pauses at the first connection, closes at the second.
    fn register_listener(&mut self, listener: TcpListener) -> io::Result<polyselect::Key> {
        let key = self.accept(listener, |event_loop, _, _| {
            event_loop.state += 1;
            let key = event_loop.sources().keys().next().expect("the listener");
            match event_loop.state {
                1 => event_loop.modify(key, Interest::empty()),
                _ => event_loop.unregister(key),
            }
        })?;
        Ok(key)
    }
}

fn a_listener_can_be_taken_back(backend: Backend) {
    let (listener, address) = listen();
    let mut event_loop = open(backend, ());
    let key = event_loop.accept(listener, |_, _, _| Ok(())).unwrap();
    let listener: TcpListener = event_loop.take(key).unwrap();
    assert_eq!(listener.local_addr().unwrap(), address);
}

#[cfg(unix)]
fn unix_listeners_accept(backend: Backend) {
    use std::os::unix::net::{UnixListener, UnixStream};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut event_loop = open(backend, 0);
    event_loop
        .accept(UnixListener::bind(&path).unwrap(), |event_loop, mut conn, address| {
            assert!(address.is_unnamed());
            event_loop.state += 1;
            conn.write_all(b"hello")
        })
        .unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    event_loop.turn(SURELY).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), event_loop.state), ("hello", 1));
}

#[cfg(unix)]
fn a_listener_rests_when_descriptors_run_out(backend: Backend) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let (listener, address) = listen();
    let mut event_loop = open(backend, Vec::new());
    event_loop
        .accept(listener, |event_loop, conn, _| {
            event_loop.state.push(conn);
            Ok(())
        })
        .unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
    let client = TcpStream::connect(address).unwrap();
    exhaust_descriptors(&client);
    let maximum = getrlimit(Resource::Nofile).maximum;

    let start = now();
    let (used, _) = processor_time(|| {
        while now() - start < 3 * A_WHILE {
            event_loop.turn(A_WHILE).unwrap();
        }
    });
    assert!(event_loop.state.is_empty());
    assert!(used < A_WHILE, "it spins: {used:?}");

    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    while event_loop.state.is_empty() {
        event_loop.turn(SURELY).unwrap();
    }
    assert!(now() - start >= Duration::from_millis(100), "it has rested");
}

/// Stops the process from opening descriptors: the lowest free one is the limit.
#[cfg(unix)]
fn exhaust_descriptors(any: &TcpStream) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let next = any.try_clone().unwrap();
    let number = rustix::fd::AsRawFd::as_raw_fd(&next) as u64;
    drop(next);
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(number), maximum }).unwrap();
}

#[cfg(unix)]
fn a_listener_paused_during_a_rest_stays_paused(backend: Backend) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let (listener, address) = listen();
    let mut event_loop = open(backend, 0);
    let accept = |event_loop: &mut EventLoop<i32>, _, _| {
        event_loop.state += 1;
        Ok(())
    };
    let key = event_loop.accept(listener, accept).unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
    let client = TcpStream::connect(address).unwrap();
    let limit = getrlimit(Resource::Nofile);
    exhaust_descriptors(&client);
    while event_loop.stats().pending_timers == 0 {
        event_loop.turn(SURELY).unwrap();
    }
    let Rlimit { maximum, .. } = limit;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    event_loop.modify(key, Interest::empty()).unwrap();
    while event_loop.stats().pending_timers > 0 {
        event_loop.turn(SURELY).unwrap();
    }
    event_loop.turn(A_WHILE).unwrap();
    assert_eq!(event_loop.state, 0);
    event_loop.modify(key, Interest::READABLE).unwrap();
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 1);
}
