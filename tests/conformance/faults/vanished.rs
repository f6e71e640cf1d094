//! Peers that vanish silently: packets to them are lost, and none arrives from them.
//!
//! A filter on the peer's socket drops its packets, or the link of the case's own network namespace
//! is switched off.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use polyselect::{Backend, EventLoop, Key, Next, Ready};
use socket2::{SockFilter, SockRef, TcpKeepalive};

use crate::event_loop::open as open_loop;
use crate::support::network::{in_own_network, switch_loopback};
use crate::support::*;

cases! {
    unanswered_bytes_to_a_vanished_peer_end_in_an_error,
    keep_alive_to_a_vanished_peer_ends_in_an_error,
    a_timer_ends_a_connection_to_a_vanished_peer,
    a_peer_that_returns_has_lost_nothing,
    unanswered_bytes_on_a_dead_link_end_in_an_error,
    keep_alive_on_a_dead_link_ends_in_an_error,
    a_timer_ends_a_connection_on_a_dead_link,
    nothing_is_lost_on_a_link_that_comes_back,
}

/// Makes a peer vanish, or return.
type Switch = fn(peer: &TcpStream, reachable: bool);

fn filter(peer: &TcpStream, reachable: bool) {
    // It keeps no byte of any packet, which drops the packet.
    let drop_all = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
    let peer = SockRef::from(peer);
    if reachable { peer.detach_filter() } else { peer.attach_filter(&[drop_all]) }.unwrap();
}

fn link(_peer: &TcpStream, reachable: bool) {
    switch_loopback(reachable);
}

#[derive(Default)]
struct State {
    /// The events of the connection whose peer vanishes, and the result of a read at each.
    seen: Vec<(Ready, io::Result<usize>)>,
    /// The number of echoes of the other connection.
    echoes: usize,
}

const QUESTION: &[u8] = b"are you there?";

type Loop = EventLoop<State>;

/// A loop with two connections: an established one, with its key and its peer, and one that echoes
/// all the time.
fn at_work(
    backend: Backend,
    (other, other_peer): (TcpStream, TcpStream),
) -> (Loop, Key, TcpStream) {
    let (conn, mut peer) = pair();
    let mut event_loop = open_loop(backend, State::default());
    event_loop
        .register(other, R, |_loop, mut other, _event| {
            let mut byte = [0];
            other.read_exact(&mut byte)?;
            other.write_all(&byte)?;
            Ok(Next::Keep)
        })
        .unwrap();
    let sender = other_peer.try_clone().unwrap();
    event_loop
        .register(other_peer, R, |event_loop, mut other_peer, _event| {
            event_loop.state.echoes += other_peer.read(&mut [0])?;
            Ok(Next::Keep)
        })
        .unwrap();
    event_loop.call_every(Duration::from_millis(1), move |_loop, _timer| {
        (&sender).write_all(b"!").unwrap();
    });
    let key = event_loop
        .register(conn, R, |event_loop, mut conn, event| {
            let read = conn.read(&mut [0; 64]);
            let next = if read.is_ok() { Next::Keep } else { Next::Remove };
            event_loop.state.seen.push((event.ready, read));
            Ok(next)
        })
        .unwrap();
    peer.write_all(b"hello").unwrap();
    while event_loop.state.seen.is_empty() {
        event_loop.turn(SURELY).unwrap();
    }
    let (ready, read) = event_loop.state.seen.remove(0);
    assert_eq!((ready, read.unwrap()), (Ready::READABLE, 5));
    (event_loop, key, peer)
}

fn write(event_loop: &Loop, key: Key, bytes: &[u8]) {
    let mut conn: &TcpStream = event_loop.get(key).unwrap();
    conn.write_all(bytes).unwrap();
}

fn turn_while(event_loop: &mut Loop, waits: impl Fn(&Loop) -> bool) {
    let before = event_loop.state.echoes;
    while waits(event_loop) {
        event_loop.turn(SURELY).unwrap();
    }
    // It took several hundred milliseconds.
    let echoes = event_loop.state.echoes - before;
    assert!(echoes > 5, "only {echoes} echoes of the other connection");
}

/// The event reports an error, and a read returns which.
fn expect_the_end(event_loop: &mut Loop, key: Key) {
    turn_while(event_loop, |event_loop| event_loop.state.seen.is_empty());
    assert!(!event_loop.contains(key));
    let (ready, read) = event_loop.state.seen.remove(0);
    assert!(ready.contains(Ready::READABLE | Ready::ERROR), "{ready:?}");
    assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
    expect_silence_of_it(event_loop);
}

fn expect_silence_of_it(event_loop: &mut Loop) {
    let before = event_loop.state.echoes;
    while event_loop.state.echoes < before + 5 {
        event_loop.turn(SURELY).unwrap();
    }
    assert!(event_loop.state.seen.is_empty(), "{:?}", event_loop.state.seen);
}

fn unanswered(backend: Backend, others: (TcpStream, TcpStream), switch: Switch) {
    let (mut event_loop, key, peer) = at_work(backend, others);
    let conn: &TcpStream = event_loop.get(key).unwrap();
    SockRef::from(conn).set_tcp_user_timeout(Some(Duration::from_millis(300))).unwrap();
    switch(&peer, false);
    write(&event_loop, key, QUESTION);
    expect_the_end(&mut event_loop, key);
}

fn kept_alive(backend: Backend, others: (TcpStream, TcpStream), switch: Switch) {
    let (mut event_loop, key, peer) = at_work(backend, others);
    // The kernel counts seconds.
    let second = Duration::from_secs(1);
    let often = TcpKeepalive::new().with_time(second).with_interval(second).with_retries(1);
    let conn: &TcpStream = event_loop.get(key).unwrap();
    SockRef::from(conn).set_tcp_keepalive(&often).unwrap();
    switch(&peer, false);
    expect_the_end(&mut event_loop, key);
}

fn ended_by_a_timer(backend: Backend, others: (TcpStream, TcpStream), switch: Switch) {
    let (mut event_loop, key, peer) = at_work(backend, others);
    switch(&peer, false);
    write(&event_loop, key, QUESTION);
    event_loop.call_later(Duration::from_millis(200), move |event_loop| {
        event_loop.unregister(key).unwrap();
    });
    turn_while(&mut event_loop, |event_loop| event_loop.contains(key));
    expect_silence_of_it(&mut event_loop);
}

fn back_again(backend: Backend, others: (TcpStream, TcpStream), switch: Switch) {
    let (mut event_loop, key, peer) = at_work(backend, others);
    let vanished = peer.try_clone().unwrap();
    event_loop
        .register(peer, R, |_loop, mut peer, _event| {
            let mut question = [0; QUESTION.len()];
            peer.read_exact(&mut question)?;
            assert_eq!(&question, QUESTION);
            peer.write_all(b"yes")?;
            Ok(Next::Keep)
        })
        .unwrap();
    switch(&vanished, false);
    write(&event_loop, key, QUESTION);
    event_loop.call_later(Duration::from_millis(100), move |event_loop| {
        assert!(event_loop.state.seen.is_empty(), "{:?}", event_loop.state.seen);
        switch(&vanished, true);
    });
    // The kernel retransmits unacknowledged data.
    turn_while(&mut event_loop, |event_loop| event_loop.state.seen.is_empty());
    let (ready, read) = event_loop.state.seen.remove(0);
    assert_eq!((ready, read.unwrap()), (Ready::READABLE, 3));
}

fn unanswered_bytes_to_a_vanished_peer_end_in_an_error(backend: Backend) {
    unanswered(backend, pair(), filter);
}

fn keep_alive_to_a_vanished_peer_ends_in_an_error(backend: Backend) {
    kept_alive(backend, pair(), filter);
}

fn a_timer_ends_a_connection_to_a_vanished_peer(backend: Backend) {
    ended_by_a_timer(backend, pair(), filter);
}

fn a_peer_that_returns_has_lost_nothing(backend: Backend) {
    back_again(backend, pair(), filter);
}

/// The other connection is in the network that stays up.
fn on_a_link(backend: Backend, fault: fn(Backend, (TcpStream, TcpStream), Switch)) {
    let others = pair();
    in_own_network(|| fault(backend, others, link));
}

fn unanswered_bytes_on_a_dead_link_end_in_an_error(backend: Backend) {
    on_a_link(backend, unanswered);
}

fn keep_alive_on_a_dead_link_ends_in_an_error(backend: Backend) {
    on_a_link(backend, kept_alive);
}

fn a_timer_ends_a_connection_on_a_dead_link(backend: Backend) {
    on_a_link(backend, ended_by_a_timer);
}

fn nothing_is_lost_on_a_link_that_comes_back(backend: Backend) {
    on_a_link(backend, back_again);
}
