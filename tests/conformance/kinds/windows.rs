//! The state of sockets on Windows.

use std::mem::MaybeUninit;
use std::os::windows::io::AsSocket;
use std::time::Instant;

use polyselect::{Backend, Interest, Ready};

use super::Subject;
use crate::support::*;

pub type Owned = std::os::windows::io::OwnedSocket;

const IN: Ready = Ready::READABLE;
const OUT: Ready = Ready::WRITABLE;
const BOTH: Ready = IN.union(OUT);

/// The guaranteed flags of each state.
const STATES: &[(&str, Ready)] = &[
    ("TCP, nothing to read", OUT),
    ("TCP, data", BOTH),
    ("TCP, full", Ready::empty()),
    ("TCP, peer closed", BOTH),
    ("TCP, peer shut down writing", BOTH),
    ("TCP, peer shut down reading", OUT),
    ("TCP, own reading shut down", OUT),
    ("TCP, own writing shut down", OUT),
    ("TCP, both shut down", OUT),
    ("TCP, writing shut down on both sides", BOTH),
    ("TCP, full and peer shut down writing", IN),
    ("TCP, reset", BOTH),
    ("TCP, reset, error taken", BOTH),
    ("TCP, urgent data", OUT.union(Ready::PRIORITY)),
    ("TCP listener, idle", Ready::empty()),
    ("TCP listener, a connection waits", IN),
    ("TCP, unconnected", Ready::empty()),
    ("TCP, bound", Ready::empty()),
    ("TCP, refused", BOTH),
    ("UDP", OUT),
    ("UDP, a datagram", BOTH),
];

/// Whether the state is not known, or the backend is wrong about it.
pub fn is_wrong(backend: Backend, subject: &Subject) -> bool {
    match subject.name {
        // Wine reports nothing, and real Windows has not been tried.
        "UDP, port unreachable" => true,
        // Wine's WSAPoll, which `select` asks for details, calls a half-close a hang-up.
        "TCP, full and peer shut down writing" => backend != Backend::Afd && harness::on_wine(),
        _ => false,
    }
}

pub fn truth(subject: &Subject, interest: Interest) -> Ready {
    let (_, state) = STATES.iter().find(|(name, _)| *name == subject.name).expect("a state");
    let details = Ready::ERROR | Ready::READ_CLOSED | Ready::WRITE_CLOSED;
    *state & Ready::from(interest) | details
}

pub fn others(_subjects: &mut Vec<Subject>) {}

pub fn wait_for_data(source: &impl AsSocket) {
    wait_for(source, R);
}

pub fn wait_for_hang_up(source: &impl AsSocket) {
    wait_for(source, R | W);
}

fn wait_for(source: &impl AsSocket, interest: Interest) {
    let mut selector = open(Backend::Select);
    let key = selector.register(source, interest, ()).unwrap();
    wait_until(&mut selector, key, Ready::READABLE);
}

pub fn wait_for_urgent_data(source: &impl AsSocket) {
    const OOB_AND_PEEK: i32 = 3;

    let socket = socket2::SockRef::from(source);
    let start = Instant::now();
    while socket.recv_with_flags(&mut [MaybeUninit::uninit()], OOB_AND_PEEK).is_err() {
        assert!(start.elapsed() < SURELY, "no urgent data arrive");
    }
}

/// A connected socket learns of it by the error of a read, which takes it.
pub fn wait_for_unread_error(_source: &impl AsSocket) {}
