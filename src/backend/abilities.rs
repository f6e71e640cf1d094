//! [`Abilities`]: what a mechanism can do, and the errors of what it cannot.

use std::io;

use super::{Backend, list};
use crate::descriptor::Descriptor;
use crate::interest::{Interest, Watch};

/// What a [`Backend`] can do beyond watching for `READABLE` and `WRITABLE`, level-triggered.
///
/// ```
/// use polyselect::Backend;
///
/// let able: Vec<_> = Backend::ALL.iter().filter(|backend| backend.abilities().edge).collect();
/// assert!(able.contains(&&Backend::Epoll));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abilities {
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
    /// The highest number a descriptor may have, where that is less than the system allows.
    pub descriptor_ceiling: Option<u32>,
}

impl Abilities {
    pub(super) const NONE: Self = Self {
        edge: false,
        oneshot: false,
        exclusive: false,
        priority: false,
        nesting: false,
        descriptor_ceiling: None,
    };
}

impl Backend {
    /// Whether this mechanism can do what a registration asks for.
    pub(crate) fn check(self, descriptor: Descriptor, watch: Watch) -> io::Result<()> {
        let abilities = self.abilities();
        let priority = watch.interest().contains(Interest::PRIORITY);
        if watch.is_edge() && !abilities.edge {
            return Err(self.unable("edge-triggered delivery", |abilities| abilities.edge));
        }
        if watch.is_oneshot() && !abilities.oneshot {
            return Err(self.unable("one-shot delivery", |abilities| abilities.oneshot));
        }
        if watch.is_exclusive() && !abilities.exclusive {
            return Err(self.unable("exclusive delivery", |abilities| abilities.exclusive));
        }
        if priority && !abilities.priority {
            return Err(self.unable("PRIORITY", |abilities| abilities.priority));
        }
        if watch.is_exclusive() && (watch.is_oneshot() || priority) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "exclusive delivery can be combined neither with one-shot nor with PRIORITY",
            ));
        }
        self.check_ceiling(descriptor, abilities.descriptor_ceiling)
    }

    fn check_ceiling(self, descriptor: Descriptor, ceiling: Option<u32>) -> io::Result<()> {
        match ceiling {
            Some(ceiling) if descriptor.is_above(ceiling) => {
                let what = format!("a descriptor above {ceiling} (this is {descriptor})");
                Err(self.unable(&what, |abilities| {
                    abilities.descriptor_ceiling.is_none_or(|other| other > ceiling)
                }))
            }
            _ => Ok(()),
        }
    }

    /// The error of a mechanism that lacks an ability.
    #[cold]
    pub(crate) fn unable(self, what: &str, able: impl Fn(Abilities) -> bool) -> io::Error {
        let able = list(Self::available().filter(|backend| able(backend.abilities())));
        let others = if able.is_empty() { "none".to_owned() } else { able };
        let message =
            format!("backend {self} cannot do {what}; on this system these can: {others}");
        io::Error::new(io::ErrorKind::Unsupported, message)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_above_the_ceiling_is_refused_by_name() {
        let descriptor = Descriptor::of(&io::stdin());
        assert!(Backend::Select.check_ceiling(descriptor, Some(0)).is_ok());
        let (reader, _writer) = io::pipe().unwrap();
        let descriptor = Descriptor::of(&reader);
        let error = Backend::Select.check_ceiling(descriptor, Some(0)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        let message = error.to_string();
        assert!(message.contains(&format!("above 0 (this is {descriptor})")), "{message}");
        assert!(message.contains("epoll") || message.contains("poll"), "{message}");
    }
}
