//! Event ports: illumos and Solaris.
//!
//! A port has an association for each descriptor, which ends with its first event, so a wait costs what is active.
//! Surprises:
//!
//! - An event describes the past: its data may have been read since. It only hints where to look, and
//!   [`LevelEmulation`] finds the present readiness with one `poll`. A descriptor that is no longer ready is
//!   associated again before the next wait.
//! - An association of a descriptor that is ready sends its event immediately, for old data as for new, so
//!   edge-triggered delivery is not possible.
//! - A call that ends with an error may have taken events.
//! - A descriptor that is closed has no association any more, without an event.

mod sys;

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use super::level_emulation::{LevelEmulation, Silent};
use super::poll_set::flags_of;
use super::{AnyPoller, Poller};
use crate::descriptor::Descriptor;
use crate::error;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;
use sys::{Port, PortEvent};

pub(super) fn open() -> io::Result<AnyPoller> {
    Ok(AnyPoller::other(EventPort {
        port: Port::open()?,
        batch: Vec::new(),
        entries: LevelEmulation::default(),
        due: Vec::new(),
        last_generation: 0,
    }))
}

#[derive(Debug)]
struct EventPort {
    port: Port,
    batch: Vec<PortEvent>,
    entries: LevelEmulation<Association>,
    /// Positions and generations of entries that have to be associated before the next wait.
    due: Vec<(usize, u32)>,
    last_generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct Association {
    /// Names the registration, because the number of a closed descriptor is used again.
    generation: u32,
    is_in_port: bool,
}

impl Poller for EventPort {
    fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        _old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        match (self.entries.position(descriptor), new.interest().is_empty()) {
            (None, true) => Ok(()),
            (None, false) => self.add(descriptor, token, new),
            (Some(position), true) => self.remove(position),
            (Some(position), false) => {
                self.entries.change(position, token, new);
                self.associate(position).map_err(|error| refusal(descriptor, error))
            }
        }
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let associated = self.associate_due();
        let is_idle = self.entries.is_idle() && associated.is_ok();
        let timeout = if is_idle { timeout } else { Some(Duration::ZERO) };
        let waited = self.port.wait(&mut self.batch, events.room(), timeout);
        for event in &self.batch {
            let Some(position) = self.entries.position(event.descriptor()) else { continue };
            let Some(entry) = self.entries.get_mut(position) else { continue };
            if entry.state.generation == event.generation() {
                entry.state.is_in_port = false;
                self.entries.hint(position, bits::IN);
            }
        }
        let due = &mut self.due;
        self.entries.report(events, |entry, position, why| {
            if why == Silent::Cooled {
                due.push((position, entry.state.generation));
            }
        })?;
        associated.and(waited)
    }
}

impl EventPort {
    fn add(&mut self, descriptor: Descriptor, token: Token, watch: Watch) -> io::Result<()> {
        self.last_generation = self.last_generation.wrapping_add(1);
        let state = Association { generation: self.last_generation, is_in_port: false };
        let position = self.entries.insert(descriptor, token, watch, state);
        self.associate(position).map_err(|error| {
            self.entries.remove(position);
            refusal(descriptor, error)
        })
    }

    /// Asks for one event of an entry.
    fn associate(&mut self, position: usize) -> Result<(), Errno> {
        let Some(entry) = self.entries.get_mut(position) else { return Ok(()) };
        let flags = flags_of(entry.watch.interest());
        self.port.associate(entry.descriptor, flags, entry.state.generation)?;
        entry.state.is_in_port = true;
        Ok(())
    }

    /// Associates the entries that were found not to be ready; an error is the first one.
    fn associate_due(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for (position, generation) in std::mem::take(&mut self.due) {
            let is_due = self.entries.get_mut(position).is_some_and(|entry| {
                entry.state.generation == generation && !entry.state.is_in_port
            });
            if !is_due {
                continue;
            }
            match self.associate(position) {
                Ok(()) => {}
                // Its `poll` reports that it is not open.
                Err(Errno::BADF | Errno::BADFD) => self.entries.hint(position, bits::NVAL),
                Err(error) => {
                    self.due.push((position, generation));
                    result = result.and(Err(error.into()));
                }
            }
        }
        result
    }

    fn remove(&mut self, position: usize) -> io::Result<()> {
        let Some(entry) = self.entries.get_mut(position) else { return Ok(()) };
        let (descriptor, is_in_port) = (entry.descriptor, entry.state.is_in_port);
        self.entries.remove(position);
        if !is_in_port {
            return Ok(());
        }
        match self.port.dissociate(descriptor) {
            // Its descriptor was closed.
            Ok(()) | Err(Errno::NOENT | Errno::BADF | Errno::BADFD) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn refusal(descriptor: Descriptor, error: Errno) -> io::Error {
    match error {
        Errno::BADF | Errno::BADFD => error::not_open(descriptor),
        error => error.into(),
    }
}
