//! An interest that a callback changes is respected in the same iteration.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};

use polyselect::{Backend, EventLoop, Interest, Key, Next, Ready, Watch};

use super::open;
use crate::support::*;

cases! {
    a_paused_registration_gets_no_event_that_was_collected_before,
    a_narrowed_registration_gets_what_is_left_of_its_event,
    an_event_outside_a_narrowed_interest_is_not_delivered needs priority,
    a_registration_that_is_paused_and_resumed_gets_its_event,
    an_edge_that_was_withheld_is_reported_again_after_the_pause needs edge,
    a_oneshot_that_was_withheld_is_reported_again_after_the_pause in virtual time,
    listeners_that_are_paused_by_the_first_connection_accept_no_other in virtual time,
    #[cfg(unix)]
    a_paused_registration_gets_no_hang_up,
}

struct State {
    keys: Vec<Key>,
    called: Vec<(Key, Ready)>,
    /// The interest that the first callback sets for all others.
    change: Vec<Interest>,
}

/// Two sources, both readable and writable; the callback that runs first changes the other's
/// interest.
struct Pair {
    event_loop: EventLoop<State>,
    _peers: Vec<TcpStream>,
}

impl Pair {
    fn new(backend: Backend, watch: impl Into<Watch>, change: &[Interest]) -> Self {
        let watch = watch.into();
        let state = State { keys: Vec::new(), called: Vec::new(), change: change.to_vec() };
        let mut event_loop = open(backend, state);
        let mut peers = Vec::new();
        for _ in 0..2 {
            let (left, mut right) = pair();
            right.write_all(b"!").unwrap();
            wait_for_data(&left);
            let key =
                event_loop.register(left, watch, |event_loop: &mut EventLoop<State>, _, event| {
                    event_loop.state.called.push((event.key, event.ready));
                    if event_loop.state.called.len() == 1 {
                        let others = event_loop.state.keys.clone();
                        for other in others.into_iter().filter(|&key| key != event.key) {
                            for interest in event_loop.state.change.clone() {
                                event_loop.modify(other, interest)?;
                            }
                        }
                    }
                    Ok(Next::Keep)
                });
            event_loop.state.keys.push(key.unwrap());
            peers.push(right);
        }
        Self { event_loop, _peers: peers }
    }

    /// The events of an iteration: the first, and the other registration's, if there is one.
    #[track_caller]
    fn turn(&mut self) -> (Key, Vec<Ready>) {
        self.event_loop.turn(SURELY).unwrap();
        let called = &self.event_loop.state.called;
        let first = called.first().expect("both are ready").0;
        let other = *self.event_loop.state.keys.iter().find(|&&key| key != first).unwrap();
        let events = called.iter().filter(|(key, _)| *key == other).map(|&(_, ready)| ready);
        (other, events.collect())
    }
}

fn a_paused_registration_gets_no_event_that_was_collected_before(backend: Backend) {
    let mut two = Pair::new(backend, R | W, &[NOTHING]);
    let (other, events) = two.turn();
    assert_eq!(events, [], "{other} is paused");
    assert!(two.event_loop.contains(other));
}

fn a_narrowed_registration_gets_what_is_left_of_its_event(backend: Backend) {
    let mut two = Pair::new(backend, R | W, &[W]);
    let (_, events) = two.turn();
    assert_eq!(events, [Ready::WRITABLE]);
}

fn an_event_outside_a_narrowed_interest_is_not_delivered(backend: Backend) {
    let mut two = Pair::new(backend, W, &[P]);
    let (_, events) = two.turn();
    assert_eq!(events, []);
}

fn a_registration_that_is_paused_and_resumed_gets_its_event(backend: Backend) {
    let mut two = Pair::new(backend, R, &[NOTHING, R]);
    let (_, events) = two.turn();
    assert_eq!(events, [Ready::READABLE]);
}

fn is_reported_again_after_the_pause(backend: Backend, watch: Watch) {
    let mut two = Pair::new(backend, watch, &[NOTHING]);
    let (other, events) = two.turn();
    assert_eq!(events, []);
    two.event_loop.turn(A_WHILE).unwrap();
    two.event_loop.modify(other, R).unwrap();
    let (_, events) = two.turn();
    assert_eq!(events, [Ready::READABLE]);
}

fn an_edge_that_was_withheld_is_reported_again_after_the_pause(backend: Backend) {
    is_reported_again_after_the_pause(backend, R.edge());
}

fn a_oneshot_that_was_withheld_is_reported_again_after_the_pause(backend: Backend) {
    is_reported_again_after_the_pause(backend, R.oneshot());
}

/// Three listeners with a client each, and descriptors for one connection.
fn listeners_that_are_paused_by_the_first_connection_accept_no_other(backend: Backend) {
    #[derive(Default)]
    struct House {
        listeners: Vec<Key>,
        accepted: Vec<TcpStream>,
    }

    let mut event_loop = open(backend, House::default());
    let mut clients = Vec::new();
    for _ in 0..3 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        clients.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let accept = |event_loop: &mut EventLoop<House>, conn, _| -> io::Result<()> {
            event_loop.state.accepted.push(conn);
            for key in event_loop.state.listeners.clone() {
                event_loop.modify(key, Interest::empty())?;
            }
            Ok(())
        };
        let key = event_loop.accept(listener, accept).unwrap();
        event_loop.state.listeners.push(key);
    }
    for _ in 0..3 {
        event_loop.turn(A_WHILE).unwrap();
    }
    assert_eq!(event_loop.state.accepted.len(), 1);
    for key in event_loop.state.listeners.clone() {
        event_loop.modify(key, Interest::READABLE).unwrap();
    }
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state.accepted.len(), 2, "the others still wait to be accepted");
}

#[cfg(unix)]
fn a_paused_registration_gets_no_hang_up(backend: Backend) {
    use std::os::unix::net::UnixStream;

    let mut event_loop = open(backend, (Vec::<Key>::new(), 0));
    for _ in 0..2 {
        let (left, right) = UnixStream::pair().unwrap();
        drop(right);
        let key = event_loop.register(
            left,
            R,
            |event_loop: &mut EventLoop<(Vec<Key>, i32)>, _, event| {
                event_loop.state.1 += 1;
                for key in event_loop.state.0.clone().into_iter().filter(|&key| key != event.key) {
                    event_loop.modify(key, Interest::empty())?;
                }
                Ok(Next::Remove)
            },
        );
        event_loop.state.0.push(key.unwrap());
    }
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state.1, 1);
}
