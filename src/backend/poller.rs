//! [`Poller`]: what the selector asks of a backend, and an open one.

use std::time::Duration;
use std::{fmt, io};

#[cfg(afd)]
use super::Port;
#[cfg(epoll)]
use super::epoll::Epoll;
use crate::descriptor::Descriptor;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;

/// The interface of a backend. The selector does all bookkeeping; a backend translates.
///
/// The selector passes only differences, each descriptor once, and nothing that [`Capabilities`](super::Capabilities) rule out.
pub(crate) trait Poller: fmt::Debug + Send + Sync {
    /// Watches a descriptor for `new` where it was watched for `old`; an empty interest is not watched at
    /// all. Takes effect with the next wait at the latest. The same watch again reports an edge again and
    /// re-arms a one-shot.
    ///
    /// If it fails, `new` is not in effect: if `old` is empty, nothing is watched, otherwise the selector
    /// follows with a removal (an empty interest). A removal always forgets the descriptor: after it the
    /// kernel holds no reference to the file. An error of a removal means that the kernel may still report
    /// events with the old token.
    fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()>;

    /// Adds the events of ready descriptors to `events`; waits for up to `timeout` until there is one. It may
    /// return early without an event; an error of kind `Interrupted` means that a signal was the reason. If
    /// it fails, `events` holds the events that were found before.
    ///
    /// An event with `NVAL` is the last one of its registration, and is followed by [`Events::note_invalid`].
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()>;

    /// A duplicate of the kernel object, which is readable when there is an event. From then on every
    /// update takes effect immediately.
    ///
    /// For backends with the capability `nesting`.
    #[cfg(unix)]
    fn descriptor(&mut self) -> io::Result<rustix::fd::OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The completion port that the wait takes packets from, if the backend has one: a waker posts to it instead of
    /// sending over a socket.
    #[cfg(afd)]
    fn port(&mut self) -> Option<std::sync::Arc<Port>> {
        None
    }
}

/// The wait of [`AnyPoller::wait`].
pub(crate) fn wait(
    poller: &mut dyn Poller,
    events: &mut Events,
    timeout: Option<Duration>,
) -> io::Result<()> {
    let result = poller.wait(events, timeout);
    if events.has_invalid() { Err(io::ErrorKind::Interrupted.into()) } else { result }
}

/// An open backend. epoll, the usual one, is called without a table of functions.
#[derive(Debug)]
pub(crate) enum AnyPoller {
    #[cfg(epoll)]
    Epoll(Epoll),
    Other(Box<dyn Poller>),
}

impl AnyPoller {
    pub(crate) fn other(poller: impl Poller + 'static) -> Self {
        Self::Other(Box::new(poller))
    }

    #[inline(always)]
    pub(crate) fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        match self {
            #[cfg(epoll)]
            Self::Epoll(epoll) => epoll.update(descriptor, token, old, new),
            Self::Other(poller) => poller.update(descriptor, token, old, new),
        }
    }

    /// Waits. If a registration was reported as invalid, `Interrupted` reports it, because a wait that
    /// succeeds needs no further step.
    #[inline(always)]
    pub(crate) fn wait(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        match self {
            #[cfg(epoll)]
            Self::Epoll(epoll) => epoll.wait(events, timeout),
            Self::Other(poller) => wait(&mut **poller, events, timeout),
        }
    }

    #[cfg(afd)]
    pub(crate) fn port(&mut self) -> Option<std::sync::Arc<Port>> {
        match self {
            Self::Other(poller) => poller.port(),
        }
    }

    #[cfg(unix)]
    pub(crate) fn descriptor(&mut self) -> io::Result<rustix::fd::OwnedFd> {
        match self {
            #[cfg(epoll)]
            Self::Epoll(epoll) => epoll.descriptor(),
            Self::Other(poller) => poller.descriptor(),
        }
    }
}
