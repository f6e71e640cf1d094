//! The end of a child on Unix.
//!
//! Linux has a descriptor for a process (pidfd) that becomes readable when it ends. Elsewhere, and where a sandbox
//! forbids it, `SIGCHLD` says that some child has ended, and every watched child is looked at.

use std::any::Any;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::Location;
use std::process::Child;
use std::rc::Rc;

use super::ChildKey;
use crate::child::open_pidfd;
use crate::event::Event;
use crate::event_loop::call_user::Registrant;
use crate::event_loop::handler::{Answer, HandleEvent, Handler};
use crate::event_loop::{EventLoop, SignalKey};
use crate::interest::Interest;
use crate::key::Key;
use crate::signal::SIGCHLD;

/// The registration of a child's descriptor; a child without one is looked at when `SIGCHLD` comes.
#[derive(Clone, Copy)]
pub(super) struct Watch(Option<Key>);

/// What is common to all children of a loop.
pub(super) type Common = Option<SignalKey>;

impl Watch {
    /// Whether the child has to be looked at when some child has ended.
    pub(super) fn is_common(self) -> bool {
        self.0.is_none()
    }

    /// What ends with the callback, also if that panics.
    pub(super) fn registrant(self) -> Registrant {
        self.0.map_or(Registrant::Nothing, Registrant::Source)
    }
}

/// The descriptor of a child, as the selector's source.
struct Pidfd {
    descriptor: OwnedFd,
    child: ChildKey,
    location: &'static Location<'static>,
}

impl<T: 'static> HandleEvent<T> for Pidfd {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    fn call(self: Rc<Self>, event_loop: &mut EventLoop<T>, _: &Event) -> Answer {
        event_loop.children.due.push_back(self.child);
        Answer::Keep
    }

    fn source(&self) -> &dyn Any {
        &self.descriptor
    }

    fn into_source(self: Rc<Self>) -> Option<Box<dyn Any>> {
        None
    }

    fn location(&self) -> &'static Location<'static> {
        self.location
    }

    fn is_own(&self) -> bool {
        true
    }
}

impl<T: 'static> EventLoop<T> {
    pub(super) fn watch_end(
        &mut self,
        child: &Child,
        key: ChildKey,
        location: &'static Location<'static>,
    ) -> io::Result<Watch> {
        match self.watch_pidfd(child, key, location) {
            Ok(pidfd) => Ok(Watch(Some(pidfd))),
            Err(error) => {
                log::debug!("child {} is watched by SIGCHLD: {error}", child.id());
                self.watch_sigchld(location)?;
                // It may have ended before the signal was handled.
                self.children.due.push_back(key);
                Ok(Watch(None))
            }
        }
    }

    fn watch_pidfd(
        &mut self,
        child: &Child,
        key: ChildKey,
        location: &'static Location<'static>,
    ) -> io::Result<Key> {
        let descriptor = open_pidfd(child.id())?;
        let pidfd = Handler(Rc::new(Pidfd { descriptor, child: key, location }));
        self.sources.insert(pidfd, Interest::READABLE.into())
    }

    fn watch_sigchld(&mut self, location: &'static Location<'static>) -> io::Result<()> {
        if self.children.common.is_none() {
            self.children.common = Some(self.look_at_children_on(SIGCHLD, location)?);
        }
        Ok(())
    }

    /// Ends the registration of a child that is no longer watched.
    #[allow(clippy::needless_pass_by_value)] // As on Windows.
    pub(super) fn forget_watch(&mut self, watch: Watch) {
        if let Watch(Some(pidfd)) = watch
            && let Err(error) = self.sources.remove(pidfd)
        {
            log::debug!("{pidfd}: {error}");
        }
    }

    /// Stops handling `SIGCHLD` when every child has a descriptor.
    pub(super) fn forget_common(&mut self) {
        if !self.children.watched.iter().any(|watched| watched.watch.is_common())
            && let Some(sigchld) = self.children.common.take()
        {
            self.remove_handler(sigchld);
        }
    }
}
