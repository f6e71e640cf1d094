//! Files that kqueue cannot watch: terminals and named pipes on macOS, and devices without a filter elsewhere.
//! They are watched by `poll`, on macOS with the help of `select`, in a wait that includes the queue.

use std::io;
use std::time::Duration;

use crate::backend::fd_map::FdMap;
use crate::backend::{AnyPoller, poll};
use crate::descriptor::Descriptor;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;

#[derive(Debug, Default)]
pub(super) struct Refused {
    files: FdMap<()>,
    /// Open while there are files; it watches the queue, too.
    poller: Option<AnyPoller>,
}

impl Refused {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    #[inline]
    pub(super) fn contains(&self, descriptor: Descriptor) -> bool {
        !self.files.is_empty() && self.files.position(descriptor).is_some()
    }

    /// Inserts a file beside the descriptor of the queue.
    pub(super) fn insert(
        &mut self,
        queue: Descriptor,
        descriptor: Descriptor,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        let poller = match &mut self.poller {
            Some(poller) => poller,
            None => {
                let mut poller = poll::open()?;
                let read = Interest::READABLE.into();
                poller.update(queue, Token::INTERNAL, Interest::empty(), read)?;
                self.poller.insert(poller)
            }
        };
        poller.update(descriptor, token, Interest::empty(), watch)?;
        self.files.insert(descriptor, ());
        Ok(())
    }

    /// Changes the watch of a file that is here; an empty interest removes it.
    pub(super) fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        let Some(poller) = &mut self.poller else { return Ok(()) };
        let result = poller.update(descriptor, token, old, new);
        if new.interest().is_empty() {
            self.files.remove(descriptor);
            if self.files.is_empty() {
                self.poller = None;
            }
        }
        result
    }

    /// Waits for the files and the queue.
    pub(super) fn wait(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let Some(poller) = &mut self.poller else { return Ok(()) };
        let result = poller.wait(events, timeout);
        events.retain(|token| token != Token::INTERNAL);
        result
    }
}
