//! [`Capabilities`] of a backend, and the errors for missing ones.

use std::io;

use super::{Backend, list};
use crate::interest::{Interest, Watch};

/// What a [`Backend`] can do beyond level-triggered `READABLE` and `WRITABLE`.
///
/// ```
/// use polyselect::Backend;
///
/// let edge: Vec<_> = Backend::ALL.iter().filter(|backend| backend.capabilities().edge).collect();
/// assert!(edge.contains(&&Backend::Epoll));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// [`Interest::edge`].
    pub edge: bool,
    /// [`Interest::oneshot`].
    pub oneshot: bool,
    /// [`Interest::exclusive`].
    pub exclusive: bool,
    /// [`Interest::PRIORITY`].
    pub priority: bool,
    /// [`Selector::descriptor`](crate::Selector::descriptor).
    pub nesting: bool,
    /// [`SharedSelector`](crate::SharedSelector).
    pub shared: bool,
}

impl Capabilities {
    pub(super) const NONE: Self = Self {
        edge: false,
        oneshot: false,
        exclusive: false,
        priority: false,
        nesting: false,
        shared: false,
    };
}

impl Backend {
    /// Fails if this backend does not support the watch.
    #[inline]
    pub(crate) fn check(self, watch: Watch) -> io::Result<()> {
        if watch.is_plain() { Ok(()) } else { self.check_modes(watch) }
    }

    #[inline(never)]
    fn check_modes(self, watch: Watch) -> io::Result<()> {
        let priority = watch.interest().contains(Interest::PRIORITY);
        let need = |is_needed: bool, what, can: fn(Capabilities) -> bool| {
            let is_met = !is_needed || can(self.capabilities());
            if is_met { Ok(()) } else { Err(self.unsupported(what, can)) }
        };
        need(watch.is_edge(), "edge-triggered delivery", |can| can.edge)?;
        need(watch.is_oneshot(), "one-shot delivery", |can| can.oneshot)?;
        need(watch.is_exclusive(), "exclusive delivery", |can| can.exclusive)?;
        need(priority, "PRIORITY", |can| can.priority)?;
        if watch.is_exclusive() && (watch.is_oneshot() || priority) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "exclusive delivery can be combined neither with one-shot nor with PRIORITY",
            ));
        }
        Ok(())
    }

    /// The error of a backend that lacks a capability.
    #[cold]
    pub(crate) fn unsupported(self, what: &str, can: impl Fn(Capabilities) -> bool) -> io::Error {
        let able = list(Self::available().filter(|backend| can(backend.capabilities())));
        let able = if able.is_empty() { "none".to_owned() } else { able };
        io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "backend {self} does not support {what}; backends of this system that do: {able}"
            ),
        )
    }
}
