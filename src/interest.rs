//! What a registration asks for: [`Interest`], and with a delivery mode, [`Watch`].

use std::fmt;

use bitflags::bitflags;

bitflags! {
    /// The directions a registration asks to be told about.
    ///
    /// A set of flags, combined with `|` and tested with [`contains`](Self::contains). The empty set
    /// pauses a registration: nothing is reported for it, not even a hang-up, until
    /// [`Selector::modify`](crate::Selector::modify) asks for something again.
    ///
    /// | flag | Python | poll |
    /// |---|---|---|
    /// | `READABLE` | `EVENT_READ` | `POLLIN`, and `POLLRDHUP` where there is one |
    /// | `WRITABLE` | `EVENT_WRITE` | `POLLOUT` |
    /// | `PRIORITY` | – | `POLLPRI`; `select`'s exceptional set |
    ///
    /// ```
    /// use polyselect::Interest;
    ///
    /// let both = Interest::READABLE | Interest::WRITABLE;
    /// assert!(both.contains(Interest::WRITABLE));
    /// assert_eq!(both - Interest::READABLE, Interest::WRITABLE);
    /// assert!(Interest::empty().is_empty());
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Interest: u8 {
        /// Data can be read, a connection accepted, or the end of the stream seen.
        const READABLE = 0b001;
        /// Priority data is there: a TCP urgent byte, a change on some `/proc` and `/sys` files.
        const PRIORITY = 0b010;
        /// There is room to write, or a connection that was being opened is open.
        const WRITABLE = 0b100;
    }
}

impl Interest {
    /// This interest, edge-triggered: told when readiness *changes*, not while it lasts.
    ///
    /// ```
    /// use polyselect::Interest;
    ///
    /// let watch = Interest::READABLE.edge();
    /// assert!(watch.is_edge());
    /// ```
    #[must_use]
    pub const fn edge(self) -> Watch {
        Watch::level(self).edge()
    }

    /// This interest, one-shot: told once, then silent until `modify` arms it again.
    ///
    /// ```
    /// use polyselect::Interest;
    ///
    /// let watch = Interest::READABLE.oneshot();
    /// assert!(watch.is_oneshot());
    /// ```
    #[must_use]
    pub const fn oneshot(self) -> Watch {
        Watch::level(self).oneshot()
    }

    /// This interest, exclusive: of several selectors that watch one descriptor (a listener, say),
    /// an event wakes at least one, and not necessarily all.
    ///
    /// ```
    /// use polyselect::Interest;
    ///
    /// let watch = Interest::READABLE.exclusive();
    /// assert!(watch.is_exclusive());
    /// ```
    #[must_use]
    pub const fn exclusive(self) -> Watch {
        Watch::level(self).exclusive()
    }
}

/// An [`Interest`] and the mode in which it is delivered.
///
/// Wherever a `Watch` is taken, a plain `Interest` does as well: that is level-triggered delivery,
/// an event in every [`select`](crate::Selector::select) for as long as the descriptor is ready.
/// The mode belongs to the registration: [`modify`](crate::Selector::modify) changes the interest
/// and keeps the mode.
///
/// Which modes a mechanism has, its [`Abilities`](crate::Abilities) say; asking for another is an
/// error of [`register`](crate::Selector::register) that names the mechanisms that have it.
///
/// ```
/// use polyselect::{Interest, Watch};
///
/// let level: Watch = Interest::READABLE.into();
/// assert!(!level.is_edge() && !level.is_oneshot() && !level.is_exclusive());
///
/// let both = (Interest::READABLE | Interest::WRITABLE).edge().oneshot();
/// assert_eq!(both.interest(), Interest::READABLE | Interest::WRITABLE);
/// assert!(both.is_edge() && both.is_oneshot());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Watch(u8);

const INTEREST: u8 = Interest::all().bits();
const EDGE: u8 = 1 << 3;
const ONESHOT: u8 = 1 << 4;
const EXCLUSIVE: u8 = 1 << 5;

impl Watch {
    const fn level(interest: Interest) -> Self {
        Self(interest.bits() & INTEREST)
    }

    /// The directions that are asked for.
    ///
    /// ```
    /// use polyselect::Interest;
    ///
    /// assert_eq!(Interest::WRITABLE.oneshot().interest(), Interest::WRITABLE);
    /// ```
    #[must_use]
    pub const fn interest(self) -> Interest {
        Interest::from_bits_truncate(self.0)
    }

    /// The same, edge-triggered.
    ///
    /// An event says that readiness changed; work until `WouldBlock`, or the rest stays unseen.
    /// At least the direction that changed is reported, others may be, and an edge may be reported
    /// more than once. `modify`, also to the same interest, reports present readiness again.
    ///
    /// ```
    /// use polyselect::Interest;
    ///
    /// assert!(Interest::READABLE.oneshot().edge().is_edge());
    /// ```
    #[must_use]
    pub const fn edge(self) -> Self {
        Self(self.0 | EDGE)
    }

    /// The same, one-shot: after an event the registration is silent, hang-ups included, until
    /// `modify` arms it again; the interest may be the same as before.
    ///
    /// ```
    /// use polyselect::Interest;
    ///
    /// assert!(Interest::READABLE.edge().oneshot().is_oneshot());
    /// ```
    #[must_use]
    pub const fn oneshot(self) -> Self {
        Self(self.0 | ONESHOT)
    }

    /// The same, exclusive, see [`Interest::exclusive`].
    ///
    /// Linux has this for `READABLE` and `WRITABLE`, level- or edge-triggered
    /// (`EPOLLEXCLUSIVE`); `register` and `modify` refuse it together with `PRIORITY` or one-shot.
    /// [`Ready::READ_CLOSED`](crate::Ready::READ_CLOSED) is not told of a half-closed peer then.
    ///
    /// ```
    /// use polyselect::Interest;
    ///
    /// assert!(Interest::READABLE.edge().exclusive().is_exclusive());
    /// ```
    #[must_use]
    pub const fn exclusive(self) -> Self {
        Self(self.0 | EXCLUSIVE)
    }

    /// Whether this is edge-triggered.
    ///
    /// ```
    /// use polyselect::Interest;
    ///
    /// assert!(!Interest::READABLE.oneshot().is_edge());
    /// ```
    #[must_use]
    pub const fn is_edge(self) -> bool {
        self.0 & EDGE != 0
    }

    /// Whether this is one-shot.
    ///
    /// ```
    /// use polyselect::Interest;
    ///
    /// assert!(!Interest::READABLE.edge().is_oneshot());
    /// ```
    #[must_use]
    pub const fn is_oneshot(self) -> bool {
        self.0 & ONESHOT != 0
    }

    /// Whether this is exclusive.
    ///
    /// ```
    /// use polyselect::Interest;
    ///
    /// assert!(!Interest::READABLE.edge().is_exclusive());
    /// ```
    #[must_use]
    pub const fn is_exclusive(self) -> bool {
        self.0 & EXCLUSIVE != 0
    }

    /// The same mode with another interest.
    pub(crate) const fn with_interest(self, interest: Interest) -> Self {
        Self(self.0 & !INTEREST | interest.bits() & INTEREST)
    }

    /// Whether a change to what is watched already has an effect: it reports an edge again, and
    /// arms a one-shot again.
    pub(crate) const fn repeats(self) -> bool {
        self.0 & (EDGE | ONESHOT) != 0
    }
}

impl From<Interest> for Watch {
    fn from(interest: Interest) -> Self {
        Self::level(interest)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch(")?;
        bitflags::parser::to_writer(&self.interest(), &mut *f)?;
        for (set, mode) in [
            (self.is_edge(), "edge"),
            (self.is_oneshot(), "one-shot"),
            (self.is_exclusive(), "exclusive"),
        ] {
            if set {
                write!(f, ", {mode}")?;
            }
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_keeps_its_mode_when_the_interest_changes() {
        let watch = Interest::READABLE.edge().oneshot().with_interest(Interest::WRITABLE);
        assert_eq!(watch, Interest::WRITABLE.edge().oneshot());
    }

    #[test]
    fn unknown_interest_bits_do_not_become_modes() {
        let watch = Watch::from(Interest::from_bits_retain(0xff));
        assert_eq!(watch, Watch::from(Interest::all()));
    }

    #[test]
    fn debug_names_interest_and_mode() {
        let watch = (Interest::READABLE | Interest::WRITABLE).edge().exclusive();
        assert_eq!(format!("{watch:?}"), "Watch(READABLE | WRITABLE, edge, exclusive)");
    }
}
