//! Accepting connections from listeners in a selector: `polyselect::accept::Acceptor`.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;

#[cfg(unix)]
use polyselect::accept::REST;
use polyselect::accept::{Acceptor, BATCH};
use polyselect::{Backend, Events, Listener, Selector};

use crate::support::*;

cases! {
    an_event_accepts_a_bounded_batch_and_the_next_accepts_the_rest,
    listeners_may_be_borrowed_or_shared,
    a_listener_that_is_paused_or_unregistered_in_a_batch_ends_it,
    the_error_of_a_broken_listener_is_returned,
    #[cfg(unix)]
    exhausted_descriptors_pause_the_listener_for_a_rest,
    #[cfg(unix)]
    a_listener_paused_during_a_rest_stays_paused,
    #[cfg(unix)]
    a_listener_unregistered_during_a_rest_leaves_nothing,
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).unwrap()
}

/// Accepts for every event of one wait; returns the connections.
fn accept<L: Listener>(
    acceptor: &mut Acceptor,
    selector: &mut Selector<L>,
) -> Vec<(L::Connection, L::Address)> {
    let mut events = Events::with_capacity(8);
    acceptor.select(selector, &mut events, SURELY).unwrap();
    let mut connections = Vec::new();
    for event in &events {
        while let Some(connection) = acceptor.next(selector, event.key, L::accept).unwrap() {
            connections.push(connection);
        }
    }
    connections
}

fn an_event_accepts_a_bounded_batch_and_the_next_accepts_the_rest(backend: Backend) {
    let (listener, address) = listen();
    let mut selector = open(backend);
    selector.register(listener, R, ()).unwrap();
    let mut acceptor = Acceptor::new();
    let clients: Vec<_> = (0..100).map(|_| connect(address)).collect();
    let mut connections = accept(&mut acceptor, &mut selector);
    assert!(connections.len() <= BATCH, "{}", connections.len());
    while connections.len() < clients.len() {
        connections.extend(accept(&mut acceptor, &mut selector));
    }
    let mut accepted: Vec<_> = connections.iter().map(|&(_, address)| address).collect();
    let mut connected: Vec<_> = clients.iter().map(|it| it.local_addr().unwrap()).collect();
    accepted.sort_unstable();
    connected.sort_unstable();
    assert_eq!(accepted, connected);
    let error = io::Read::read(&mut &connections[0].0, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

fn listeners_may_be_borrowed_or_shared(backend: Backend) {
    fn accepts_from<L: Listener>(backend: Backend, listener: L, address: SocketAddr) {
        let mut selector = open(backend);
        selector.register(listener, R, ()).unwrap();
        let _client = connect(address);
        assert_eq!(accept(&mut Acceptor::new(), &mut selector).len(), 1);
    }

    let (listener, address) = listen();
    accepts_from(backend, &listener, address);
    let listener = Rc::new(listener);
    accepts_from(backend, Rc::clone(&listener), address);
    assert_eq!(Rc::strong_count(&listener), 1);
}

fn a_listener_that_is_paused_or_unregistered_in_a_batch_ends_it(backend: Backend) {
    let (listener, address) = listen();
    let mut selector = open(backend);
    let key = selector.register(listener, R, ()).unwrap();
    let mut acceptor = Acceptor::new();
    let _clients: Vec<_> = (0..3).map(|_| connect(address)).collect();
    let next = |acceptor: &mut Acceptor, selector: &mut Selector<TcpListener>| {
        expect_one(selector, key);
        acceptor.next(selector, key, Listener::accept).unwrap().is_some()
    };
    assert!(next(&mut acceptor, &mut selector));
    acceptor.pause(&mut selector, key).unwrap();
    assert!(acceptor.next(&mut selector, key, Listener::accept).unwrap().is_none());
    expect_silence(&mut selector);
    acceptor.resume(&mut selector, key).unwrap();
    assert!(next(&mut acceptor, &mut selector));
    selector.unregister(key).unwrap();
    assert!(acceptor.next(&mut selector, key, Listener::accept).unwrap().is_none());
    assert_eq!(acceptor.pause(&mut selector, key).unwrap_err().kind(), io::ErrorKind::NotFound);
}

fn the_error_of_a_broken_listener_is_returned(backend: Backend) {
    let (listener, _) = listen();
    let mut selector = open(backend);
    let key = selector.register(listener, R, ()).unwrap();
    let broken = |_: &TcpListener| -> io::Result<()> { Err(rustix::io::Errno::INVAL.into()) };
    let error = Acceptor::new().next(&mut selector, key, broken).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::INVAL.raw_os_error()));
    assert_eq!(selector[key].interest(), R);
}

/// Puts a listener into its pause: a client waits, and no descriptor is free for it.
#[cfg(unix)]
fn rest(
    selector: &mut Selector<TcpListener>,
    acceptor: &mut Acceptor,
    while_exhausted: impl FnOnce(&mut Selector<TcpListener>, &mut Acceptor),
) -> TcpStream {
    let (_, registration) = selector.iter().next().unwrap();
    let client = connect(registration.source().local_addr().unwrap());
    look(selector);
    process::without_descriptors(|| {
        assert_eq!(accept(acceptor, selector).len(), 0);
        while_exhausted(selector, acceptor);
    });
    client
}

#[cfg(unix)]
fn exhausted_descriptors_pause_the_listener_for_a_rest(backend: Backend) {
    let (listener, _) = listen();
    let mut selector = open(backend);
    let key = selector.register(listener, R, ()).unwrap();
    let mut acceptor = Acceptor::new();
    let client = rest(&mut selector, &mut acceptor, |selector, acceptor| {
        assert_eq!(selector[key].interest(), NOTHING);
        let (mut events, mut attempts) = (Events::with_capacity(8), 0);
        let (used, passed) = processor_time(|| {
            while attempts < 3 {
                acceptor.select(selector, &mut events, SURELY).unwrap();
                for event in &events {
                    assert!(
                        acceptor.next(selector, event.key, Listener::accept).unwrap().is_none()
                    );
                    attempts += 1;
                }
            }
        });
        assert!(passed >= (attempts - 1) * REST, "{attempts} attempts in {passed:?}");
        assert!(used < passed / 2, "it spins: {used:?} of {passed:?}");
    });
    let mut connections = Vec::new();
    while connections.is_empty() {
        connections = accept(&mut acceptor, &mut selector);
    }
    assert_eq!(connections[0].1, client.local_addr().unwrap());
    assert_eq!(selector[key].interest(), R);
}

#[cfg(unix)]
fn a_listener_paused_during_a_rest_stays_paused(backend: Backend) {
    let (listener, _) = listen();
    let mut selector = open(backend);
    let key = selector.register(listener, R, ()).unwrap();
    let mut acceptor = Acceptor::new();
    let _client = rest(&mut selector, &mut acceptor, |selector, acceptor| {
        acceptor.pause(selector, key).unwrap();
    });
    let mut events = Events::with_capacity(8);
    // The first wait lasts as long as the pause would; the second would resume the listener.
    for _ in 0..2 {
        assert_eq!(acceptor.select(&mut selector, &mut events, REST).unwrap(), 0);
    }
    assert_eq!(selector[key].interest(), NOTHING);
    acceptor.resume(&mut selector, key).unwrap();
    assert_eq!(accept(&mut acceptor, &mut selector).len(), 1);
}

#[cfg(unix)]
fn a_listener_unregistered_during_a_rest_leaves_nothing(backend: Backend) {
    let (listener, _) = listen();
    let mut selector = open(backend);
    let key = selector.register(listener, R, ()).unwrap();
    let mut acceptor = Acceptor::new();
    let _client = rest(&mut selector, &mut acceptor, |_, _| ());
    drop(selector.unregister(key).unwrap());
    let mut events = Events::with_capacity(8);
    let (_, passed) = processor_time(|| {
        acceptor.select(&mut selector, &mut events, 2 * REST).unwrap();
    });
    assert!(passed >= 2 * REST, "the wait ended for a listener that is gone: {passed:?}");
}
