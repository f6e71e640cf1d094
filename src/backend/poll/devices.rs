//! `poll` of macOS, which is made of kqueue and calls whatever that refuses invalid: directories, terminals and
//! other devices. Files that never block are always ready. From the first other one on, `select` waits instead.

use std::io;
use std::time::Duration;

use crate::backend::always_ready::AlwaysReady;
use crate::backend::poll_set::{PollSet, check_open};
use crate::backend::{AnyPoller, Poller, select};
use crate::descriptor::{Descriptor, FileKind};
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;

#[derive(Debug, Default)]
pub(super) struct PollWithoutDevices {
    set: PollSet,
    always_ready: AlwaysReady,
    /// Has all that was in `set`.
    select: Option<AnyPoller>,
}

impl Poller for PollWithoutDevices {
    fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        if self.always_ready.update(descriptor, token, new) {
            return Ok(());
        }
        if old.is_empty() && !new.interest().is_empty() {
            check_open(descriptor)?;
            match descriptor.kind() {
                FileKind::NeverBlocks => {
                    self.always_ready.set(descriptor, token, new);
                    return Ok(());
                }
                FileKind::Device | FileKind::Fifo { is_named: true } => self.change_to_select()?,
                FileKind::Fifo { is_named: false } | FileKind::Other => {}
            }
        }
        match &mut self.select {
            Some(select) => select.update(descriptor, token, old, new)?,
            None if new.interest().is_empty() => self.set.remove(descriptor),
            None => self.set.insert(descriptor, token, new),
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = if self.always_ready.is_ready() { Some(Duration::ZERO) } else { timeout };
        let result = match &mut self.select {
            Some(select) => select.wait(events, timeout),
            None => self.set.wait(events, timeout, drop),
        };
        self.always_ready.report(events);
        result
    }
}

impl PollWithoutDevices {
    fn change_to_select(&mut self) -> io::Result<()> {
        if self.select.is_some() {
            return Ok(());
        }
        let mut select = select::open()?;
        for (descriptor, token, watch) in self.set.iter() {
            select.update(descriptor, token, Interest::empty(), watch)?;
        }
        self.set = PollSet::default();
        self.select = Some(select);
        Ok(())
    }
}
