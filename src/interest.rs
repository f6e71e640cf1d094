//! [`Interest`]: the events of a registration; with a delivery mode, [`Watch`].

use std::fmt;

use bitflags::bitflags;

use crate::bits;

bitflags! {
    /// The directions in which a registration is watched.
    ///
    /// A set of flags, combined with `|` and tested with [`contains`](Self::contains). The empty set
    /// pauses a registration: nothing is reported for it, not even a hang-up, until
    /// [`Selector::modify`](crate::Selector::modify) sets another interest.
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
        /// Data can be read, a connection accepted, or the end of the stream reached.
        const READABLE = 0b001;
        /// Priority data: a TCP urgent byte, a change of some `/proc` and `/sys` files.
        const PRIORITY = 0b010;
        /// There is room to write, or a pending `connect` has ended.
        const WRITABLE = 0b100;
    }
}

impl Interest {
    /// The interest as bits of `poll`. `RDHUP` belongs to `READABLE`, and is ignored where the kernel has
    /// no such bit.
    #[inline]
    pub(crate) const fn poll_bits(self) -> u32 {
        let mut asked = 0;
        if self.contains(Self::READABLE) {
            asked |= bits::IN | bits::RDHUP;
        }
        if self.contains(Self::WRITABLE) {
            asked |= bits::OUT;
        }
        if self.contains(Self::PRIORITY) {
            asked |= bits::PRI;
        }
        asked
    }

    /// Returns this interest, edge-triggered: reported when readiness *changes*, not while it lasts.
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

    /// Returns this interest, one-shot: reported once, then silent until `modify` re-arms it.
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

    /// Returns this interest, exclusive: if several selectors watch one descriptor (a listener, say), an
    /// event wakes at least one of them, and not necessarily all.
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
/// A plain `Interest` converts into a level-triggered `Watch`: an event in every
/// [`select`](crate::Selector::select) for as long as the descriptor is ready.
/// [`modify`](crate::Selector::modify) changes the interest of a registration and keeps its mode;
/// [`set_watch`](crate::Selector::set_watch) changes both.
///
/// [`Capabilities`](crate::Capabilities) lists the modes of a backend. A mode that the backend lacks is an
/// `Unsupported` error, whose message names the backends that have it.
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

    /// Returns the directions.
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

    /// Returns the same watch, edge-triggered.
    ///
    /// An event reports that readiness changed: continue until `WouldBlock`, because the rest is not
    /// reported. At least the direction that changed is reported, others may be, and an edge may be
    /// reported more than once. `modify`, also to the same interest, reports present readiness again.
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

    /// Returns the same watch, one-shot: after an event the registration is silent, hang-ups included,
    /// until `modify` re-arms it; the interest may be the same as before.
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

    /// Returns the same watch, exclusive: see [`Interest::exclusive`].
    ///
    /// Linux has this for `READABLE` and `WRITABLE`, level- or edge-triggered (`EPOLLEXCLUSIVE`);
    /// together with `PRIORITY` or one-shot it is an `InvalidInput` error.
    /// [`Ready::READ_CLOSED`](crate::Ready::READ_CLOSED) does not report a half-closed peer then.
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

    /// Returns whether this is edge-triggered.
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

    /// Returns whether this is one-shot.
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

    /// Returns whether this is exclusive.
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

    /// Whether every backend supports this watch.
    #[inline]
    pub(crate) const fn is_plain(self) -> bool {
        const PLAIN: u8 = Interest::READABLE.union(Interest::WRITABLE).bits();
        self.0 & !PLAIN == 0
    }

    /// Whether setting the same watch again has an effect: it reports an edge again and re-arms a
    /// one-shot.
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
