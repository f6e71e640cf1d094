//! polling, in its three modes; the key is the index into the readers.

#![allow(unsafe_code)] // Its `add` trusts the caller not to close what is registered.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;

use ::polling::{Event, Events, PollMode, Poller};

use super::{CAPACITY, Pipes, Ring, Turns, pass_on};

/// Each of its waits also sets a timer's descriptor, and re-arms that and the notifier's.
struct Polling {
    poller: Poller,
    pipes: Pipes,
    events: Events,
    mode: PollMode,
}

pub fn level(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    open(pipes, PollMode::Level)
}

/// One-shot: each event disarms the pipe, which is re-armed after the read.
pub fn oneshot(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    open(pipes, PollMode::Oneshot)
}

pub fn edge(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    open(pipes, PollMode::Edge)
}

fn open(pipes: Pipes, mode: PollMode) -> io::Result<Box<dyn Ring>> {
    let poller = Poller::new()?;
    for (index, reader) in pipes.readers.iter().enumerate() {
        // SAFETY: the readers are dropped after the poller, the field before them.
        unsafe { poller.add_with_mode(reader, Event::readable(index), mode)? };
    }
    let events = Events::with_capacity(NonZeroUsize::new(CAPACITY).expect("is not zero"));
    Ok(Box::new(Polling { poller, pipes, events, mode }))
}

impl Turns for Polling {
    fn turn(&mut self) -> io::Result<u64> {
        self.events.clear();
        self.poller.wait(&mut self.events, None)?;
        for event in self.events.iter() {
            let reader = self.pipes.readers[event.key].as_fd();
            pass_on(reader, event.key, &self.pipes.writers)?;
            if self.mode == PollMode::Oneshot {
                self.poller.modify(reader, Event::readable(event.key))?;
            }
        }
        Ok(self.events.len() as u64)
    }
}
