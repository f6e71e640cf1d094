//! A watched socket, and the translation between `poll`'s bits and the states of the driver.

use std::mem;

use windows_sys::Win32::Networking::WinSock::SOCKET;

use super::driver::{Outcome, Request, Ticket, mask};
use crate::descriptor::Descriptor;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;

#[derive(Debug)]
pub(super) struct Watched {
    pub(super) descriptor: Descriptor,
    pub(super) token: Token,
    pub(super) watch: Watch,
    pub(super) socket: SOCKET,
    pub(super) helper: usize,
    pub(super) generation: u64,
    pub(super) state: State,
    /// A one-shot that has fired.
    pub(super) is_disarmed: bool,
    /// Whether the driver has reported that the socket is closed.
    pub(super) is_closed: bool,
    /// Whether `due` or `reported` has the slot.
    pub(super) is_queued: bool,
}

#[derive(Debug)]
pub(super) enum State {
    Idle(Box<Request>),
    Pending {
        ticket: Ticket,
        mask: u32,
        is_cancelled: bool,
    },
    /// For the moment of a submission.
    Moving,
}

pub(super) fn enqueue(queue: &mut Vec<usize>, slot: usize, watched: &mut Watched) {
    if !mem::replace(&mut watched.is_queued, true) {
        queue.push(slot);
    }
}

/// What to ask the driver for.
pub(super) fn mask_of(watch: Watch) -> u32 {
    let mut mask = mask::ABORT | mask::CONNECT_FAIL | mask::LOCAL_CLOSE;
    let interest = watch.interest();
    if interest.contains(Interest::READABLE) {
        mask |= mask::RECEIVE | mask::ACCEPT | mask::DISCONNECT;
    }
    if interest.contains(Interest::WRITABLE) {
        mask |= mask::SEND;
    }
    if interest.contains(Interest::PRIORITY) {
        mask |= mask::EXPEDITED;
    }
    mask
}

/// The bits of `poll` for an answer of the driver.
pub(super) fn found_bits(outcome: Outcome) -> u32 {
    let states = match outcome {
        Outcome::Found(states) => states,
        Outcome::Cancelled => return 0,
        Outcome::Failed => return bits::ERR | bits::HUP,
    };
    let table = [
        (mask::RECEIVE | mask::ACCEPT, bits::IN),
        (mask::DISCONNECT, bits::IN | bits::RDHUP),
        (mask::SEND, bits::OUT),
        (mask::EXPEDITED, bits::PRI),
        (mask::ABORT | mask::CONNECT_FAIL, bits::ERR | bits::HUP),
        (mask::LOCAL_CLOSE, bits::NVAL),
    ];
    let set = table.iter().filter(|(state, _)| states & state != 0);
    set.fold(0, |found, (_, bits)| found | bits)
}
