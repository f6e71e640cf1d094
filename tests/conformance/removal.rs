//! Unregistering takes effect at once, and releases the file.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use polyselect::{Backend, Events, Ready, Selector};

use crate::support::*;

cases! {
    the_peer_sees_the_end_when_the_source_is_dropped,
    the_peer_sees_the_end_while_an_event_is_pending,
    the_peer_sees_the_end_while_many_events_are_pending,
    the_peer_sees_the_end_after_the_selector_has_moved,
    an_unregistered_listener_releases_its_port,
    an_event_of_a_source_unregistered_in_its_batch_finds_nothing,
    a_slot_that_is_reused_inside_a_batch_gets_no_stale_event,
    a_source_with_a_change_or_an_event_pending_can_be_unregistered,
    slots_are_reused_while_events_are_under_way,
    dropping_the_selector_drops_the_sources,
}

/// The peer reads the end of the stream without a wait of the selector.
fn expect_end(mut peer: &TcpStream) {
    peer.set_nonblocking(false).unwrap();
    peer.set_read_timeout(Some(SURELY)).unwrap();
    let mut rest = [0; 64];
    loop {
        match peer.read(&mut rest) {
            Ok(0) => return,
            Ok(_) => {}
            // Unread data makes it a reset.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("no end of stream: {error}"),
        }
    }
}

fn the_peer_sees_the_end_when_the_source_is_dropped(backend: Backend) {
    for interest in [R, W, R | W, NOTHING] {
        let (left, right) = pair();
        let mut selector = open(backend);
        let key = selector.register(left, interest, ()).unwrap();
        look(&mut selector);
        drop(selector.unregister(key).unwrap());
        expect_end(&right);
    }
}

fn the_peer_sees_the_end_while_an_event_is_pending(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R | W, ()).unwrap();
    look(&mut selector);
    right.write_all(b"unseen").unwrap();
    drop(selector.unregister(key).unwrap());
    expect_end(&right);
    expect_silence(&mut selector);
}

fn the_peer_sees_the_end_while_many_events_are_pending(backend: Backend) {
    let mut selector = open(backend);
    let mut peers = Vec::new();
    for _ in 0..60 {
        let (left, right) = pair();
        selector.register(left, R, ()).unwrap();
        peers.push(right);
    }
    let (left, right) = pair();
    let key = selector.register(left, R, ()).unwrap();
    look(&mut selector);
    for peer in &mut peers {
        peer.write_all(b"!").unwrap();
    }
    (&right).write_all(b"!").unwrap();
    drop(selector.unregister(key).unwrap());
    expect_end(&right);
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 60 {
        seen.extend(expect_events(&mut selector).iter().map(|event| event.key));
    }
    assert!(!seen.contains(&key));
}

fn the_peer_sees_the_end_after_the_selector_has_moved(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector: Selector<TcpStream> = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    look(&mut selector);
    let moved = thread::spawn(move || {
        right.write_all(b"!").unwrap();
        drop(selector.unregister(key).unwrap());
        expect_end(&right);
        selector
    });
    assert!(moved.join().unwrap().is_empty());
}

fn an_unregistered_listener_releases_its_port(backend: Backend) {
    let listener = TcpListener::bind((own_loopback(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut selector = open(backend);
    let key = selector.register(listener, R, ()).unwrap();
    look(&mut selector);
    drop(selector.unregister(key).unwrap());
    assert!(TcpStream::connect(address).is_err(), "still accepting");
    let again = TcpListener::bind(address).unwrap();
    let key = selector.register(again, R, ()).unwrap();
    let _client = TcpStream::connect(address).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
}

/// As many connections with data as the events' capacity.
fn ready(selector: &mut Selector<TcpStream, usize>, count: usize) -> (Events, Vec<TcpStream>) {
    let mut peers = Vec::new();
    for number in 0..count {
        let (left, mut right) = pair();
        right.write_all(b"!").unwrap();
        wait_for_data(&left);
        selector.register(left, R, number).unwrap();
        peers.push(right);
    }
    let mut events = Events::with_capacity(64);
    selector.select(&mut events, SURELY).unwrap();
    assert_eq!(events.len(), count);
    (events, peers)
}

fn an_event_of_a_source_unregistered_in_its_batch_finds_nothing(backend: Backend) {
    let mut selector = open(backend);
    let (events, _peers) = ready(&mut selector, 10);
    let mut seen = 0;
    for event in &events {
        if selector.get(event.key).is_none() {
            continue;
        }
        seen += 1;
        // The first removes all the others.
        selector.retain(|key, _| key == event.key).unwrap();
    }
    assert_eq!((seen, selector.len()), (1, 1));
    assert_eq!(look(&mut selector).len(), 1);
}

fn a_slot_that_is_reused_inside_a_batch_gets_no_stale_event(backend: Backend) {
    let mut selector = open(backend);
    let (events, _peers) = ready(&mut selector, 4);
    let keys: Vec<_> = selector.iter().map(|(key, _)| key).collect();
    for key in keys {
        drop(selector.unregister(key).unwrap());
    }
    let fresh: Vec<_> = (0..4).map(|_| pair()).collect();
    for (left, _) in &fresh {
        selector.register(left.try_clone().unwrap(), R, 0).unwrap();
    }
    for event in &events {
        assert!(selector.get(event.key).is_none(), "an event reached a stranger");
    }
    expect_silence(&mut selector);
}

fn a_source_with_a_change_or_an_event_pending_can_be_unregistered(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    look(&mut selector);
    right.write_all(b"!").unwrap();
    selector.modify(key, W).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::WRITABLE);
    selector.modify(key, R | W).unwrap();
    let (left, ()) = selector.unregister(key).unwrap().into_parts();
    expect_silence(&mut selector);
    let key = selector.register(left, R, ()).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
}

fn slots_are_reused_while_events_are_under_way(backend: Backend) {
    let mut selector = open(backend);
    for round in 0..50 {
        let (left, mut right) = pair();
        let key = selector.register(left, R, round).unwrap();
        look(&mut selector);
        right.write_all(b"!").unwrap();
        drop(selector.unregister(key).unwrap());
        // The same slot and descriptor, and nothing to read.
        let (left, right) = pair();
        let key = selector.register(left, R, round).unwrap();
        assert!(look(&mut selector).is_empty());
        drop(selector.unregister(key).unwrap());
        drop(right);
    }
}

fn dropping_the_selector_drops_the_sources(backend: Backend) {
    let (left, right) = pair();
    let mut selector = open(backend);
    selector.register(left, R, ()).unwrap();
    look(&mut selector);
    drop(selector);
    expect_end(&right);
}
