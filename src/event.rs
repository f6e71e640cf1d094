//! What a wait found: [`Event`]s in [`Events`], each with its [`Ready`] flags.

use std::fmt;
use std::iter::FusedIterator;

use bitflags::bitflags;

use crate::interest::Interest;
use crate::key::{Key, Token};
use crate::raw_event::{self, RawEvent, RawEvents, bits};

bitflags! {
    /// What is ready, and the detail that came with it.
    ///
    /// `READABLE`, `WRITABLE` and `PRIORITY` are guaranteed alike on every mechanism, and only
    /// given when they were asked for. A hang-up or an error makes what was asked for ready, so
    /// that the read or write that follows meets it. The others are detail: given where the
    /// mechanism can tell, whatever was asked.
    ///
    /// With B for the bits that `poll` reports:
    ///
    /// | flag | when |
    /// |---|---|
    /// | `READABLE` | asked for, and B has `IN`, `HUP`, `ERR` or `RDHUP` |
    /// | `WRITABLE` | asked for, and B has `OUT` or `ERR` |
    /// | `PRIORITY` | asked for, and B has `PRI` |
    /// | `ERROR` | B has `ERR` |
    /// | `READ_CLOSED` | B has `HUP`; or `RDHUP`, and `READABLE` was asked for |
    /// | `WRITE_CLOSED` | B has `HUP` |
    /// | `INVALID` | B has `NVAL`, or the kernel refused a change; nothing more comes after it |
    ///
    /// ```
    /// use polyselect::Ready;
    ///
    /// let ready = Ready::READABLE | Ready::READ_CLOSED;
    /// assert!(ready.contains(Ready::READABLE));
    /// assert!(!ready.intersects(Ready::WRITABLE | Ready::ERROR));
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Ready: u8 {
        // The first six bits stand where `poll` has them, so that the common event needs no
        // translation.

        /// A read will not block: there is data, a connection, an end of stream or an error.
        const READABLE = bits::IN as u8;
        /// Priority data is there.
        const PRIORITY = bits::PRI as u8;
        /// A write will not block: there is room, or an error.
        const WRITABLE = bits::OUT as u8;
        /// Something went wrong; `SO_ERROR` or the next read or write says what.
        const ERROR = bits::ERR as u8;
        /// What is written can reach nobody any more.
        const WRITE_CLOSED = bits::HUP as u8;
        /// The descriptor is not open, or the kernel refused a change to what is watched. Told
        /// once; the registration is silent then. `unregister` still gives the source back.
        const INVALID = bits::NVAL as u8;
        /// The peer has shut down its writing side; data sent before can still be read.
        const READ_CLOSED = 0x40;
    }
}

impl Ready {
    #[inline]
    fn from_bits_asked(found: u32, asked: Interest) -> Self {
        if found & !(bits::IN | bits::PRI | bits::OUT) == 0 {
            Self::from_bits_retain(found as u8)
        } else {
            Self::with_detail(found, asked)
        }
    }

    fn with_detail(found: u32, asked: Interest) -> Self {
        let has = |wanted: u32| found & wanted != 0;
        let mut ready = Self::empty();
        let mut set = |flags: Self, condition: bool| ready.set(flags, condition);
        set(
            Self::READABLE,
            asked.contains(Interest::READABLE)
                && has(bits::IN | bits::HUP | bits::ERR | bits::RDHUP),
        );
        // Not HUP: `select` does not call the read end of a broken pipe writable, nor a pidfd.
        set(Self::WRITABLE, asked.contains(Interest::WRITABLE) && has(bits::OUT | bits::ERR));
        set(Self::PRIORITY, asked.contains(Interest::PRIORITY) && has(bits::PRI));
        set(Self::ERROR, has(bits::ERR));
        set(
            Self::READ_CLOSED,
            has(bits::HUP) || asked.contains(Interest::READABLE) && has(bits::RDHUP),
        );
        set(Self::WRITE_CLOSED, has(bits::HUP));
        set(Self::INVALID, has(bits::NVAL));
        ready
    }
}

/// One registration that is ready, and in what way.
///
/// An event was true when [`select`](crate::Selector::select) returned. What the program does with
/// earlier events of the same batch may remove the registration; its key finds nothing then.
///
/// ```
/// # #[cfg(unix)] {
/// use polyselect::{Events, Interest, Selector};
/// use std::{io::Write, os::unix::net::UnixStream};
///
/// let (mut left, right) = UnixStream::pair()?;
/// let mut selector = Selector::new()?;
/// let key = selector.register(right, Interest::READABLE, ())?;
/// left.write_all(b"!")?;
///
/// let mut events = Events::with_capacity(8);
/// selector.select(&mut events, None)?;
/// for event in &events {
///     assert_eq!(event.key, key);
///     assert!(event.is_readable() && !event.is_writable());
/// }
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Whose event this is.
    pub key: Key,
    /// What is ready.
    pub ready: Ready,
}

impl Event {
    #[inline]
    fn from_raw(raw: &RawEvent) -> Self {
        let (token, found) = raw_event::read(raw);
        Self { key: token.key(), ready: Ready::from_bits_asked(found, token.asked()) }
    }
}

macro_rules! tests_for {
    ($($(#[$doc:meta])* $name:ident = $flag:ident;)*) => {
        impl Event {
            $(
                $(#[$doc])*
                ///
                /// See [`Event`] for an example.
                #[inline]
                #[must_use]
                pub const fn $name(&self) -> bool {
                    self.ready.contains(Ready::$flag)
                }
            )*
        }
    };
}

tests_for! {
    /// Whether [`Ready::READABLE`] is set.
    is_readable = READABLE;
    /// Whether [`Ready::WRITABLE`] is set.
    is_writable = WRITABLE;
    /// Whether [`Ready::PRIORITY`] is set.
    is_priority = PRIORITY;
    /// Whether [`Ready::ERROR`] is set.
    is_error = ERROR;
    /// Whether [`Ready::READ_CLOSED`] is set.
    is_read_closed = READ_CLOSED;
    /// Whether [`Ready::WRITE_CLOSED`] is set.
    is_write_closed = WRITE_CLOSED;
    /// Whether [`Ready::INVALID`] is set.
    is_invalid = INVALID;
}

/// Room for the events of one [`select`](crate::Selector::select), reused from call to call.
///
/// When more is ready than there is room for, the rest comes with the next calls, and the mechanism
/// takes turns so that nobody is left out. The memory is what was asked for at the start; `select`
/// allocates nothing here.
///
/// ```
/// # #[cfg(unix)] {
/// use polyselect::{Events, Selector};
/// use std::time::Duration;
///
/// let mut selector: Selector<std::net::TcpStream> = Selector::new()?;
/// let mut events = Events::with_capacity(1024);
/// let ready = selector.select(&mut events, Duration::ZERO)?;
/// assert_eq!(ready, events.len());
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Events {
    raw: RawEvents,
    /// How many of `raw` are this batch's.
    len: usize,
    /// How many may be.
    limit: usize,
}

impl Events {
    /// Room for `capacity` events; zero counts as one.
    ///
    /// ```
    /// use polyselect::Events;
    ///
    /// assert_eq!(Events::with_capacity(0).capacity(), 1);
    /// ```
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let limit = capacity.max(1);
        Self { raw: RawEvents::new(limit), len: 0, limit }
    }

    /// How many events one wait can return.
    ///
    /// ```
    /// use polyselect::Events;
    ///
    /// assert_eq!(Events::with_capacity(64).capacity(), 64);
    /// ```
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.raw.as_slice().len()
    }

    /// How many events the last wait returned.
    ///
    /// ```
    /// use polyselect::Events;
    ///
    /// assert_eq!(Events::with_capacity(64).len(), 0);
    /// ```
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the last wait returned no event.
    ///
    /// ```
    /// use polyselect::Events;
    ///
    /// assert!(Events::with_capacity(64).is_empty());
    /// ```
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The events of the last wait, in the order the mechanism gave them. See [`Event`] for an
    /// example with a `for` loop over `&events`.
    ///
    /// ```
    /// use polyselect::Events;
    ///
    /// assert_eq!(Events::with_capacity(64).iter().count(), 0);
    /// ```
    #[inline]
    pub fn iter(&self) -> EventsIter<'_> {
        EventsIter { raw: self.raw.as_slice()[..self.len].iter() }
    }

    /// Forgets the events of the last wait; `select` does so by itself.
    ///
    /// ```
    /// use polyselect::Events;
    ///
    /// let mut events = Events::with_capacity(64);
    /// events.clear();
    /// assert!(events.is_empty());
    /// ```
    #[inline]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The event at this position, counted from zero.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<Event> {
        self.raw.as_slice()[..self.len].get(index).map(Event::from_raw)
    }

    /// How many events still fit.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.limit - self.len
    }

    /// Adds an event with `poll`'s bits, and says whether there was room for it.
    pub(crate) fn push(&mut self, token: Token, found: u32) -> bool {
        let fits = self.room() > 0;
        if fits {
            self.raw.set(self.len, token, found);
            self.len += 1;
        }
        fits
    }

    /// Runs `report` as if there were room for so many only.
    #[cfg(any(epoll, mio))]
    pub(crate) fn with_room<R>(&mut self, room: usize, report: impl FnOnce(&mut Self) -> R) -> R {
        let limit = self.limit;
        self.limit = limit.min(self.len + room);
        let result = report(self);
        self.limit = limit;
        result
    }

    /// Lets a kernel write events itself, as many as there is room for; `write` says how many.
    #[inline(always)]
    #[cfg(epoll)]
    pub(crate) fn fill<E>(
        &mut self,
        write: impl FnOnce(&mut [rustix::event::epoll::Event]) -> Result<usize, E>,
    ) -> Result<(), E> {
        self.len += write(&mut self.raw.as_mut_slice()[self.len..self.limit])?;
        Ok(())
    }

    pub(crate) fn token(&self, index: usize) -> Token {
        self.raw.token(index)
    }

    /// Takes out the events for which `keep` is false; the others keep their order.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Token) -> bool) {
        let mut kept = 0;
        for index in 0..self.len {
            let (token, found) = (self.raw.token(index), self.raw.bits(index));
            if keep(token) {
                self.raw.set(kept, token, found);
                kept += 1;
            }
        }
        self.len = kept;
    }

    /// Joins the last event to an earlier one of the same registration, if there is one.
    pub(crate) fn merge_last(&mut self) {
        let Some(last) = self.len.checked_sub(1) else { return };
        let (token, found) = (self.raw.token(last), self.raw.bits(last));
        if let Some(earlier) = (0..last).find(|&index| self.raw.token(index).key() == token.key()) {
            self.raw.set(earlier, token, self.raw.bits(earlier) | found);
            self.len = last;
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = Event;
    type IntoIter = EventsIter<'a>;

    #[inline]
    fn into_iter(self) -> EventsIter<'a> {
        self.iter()
    }
}

/// Walks [`Events`], see [`Events::iter`].
///
/// ```
/// use polyselect::Events;
///
/// assert!(Events::with_capacity(64).iter().next().is_none());
/// ```
#[derive(Clone)]
pub struct EventsIter<'a> {
    raw: std::slice::Iter<'a, RawEvent>,
}

impl Iterator for EventsIter<'_> {
    type Item = Event;

    #[inline]
    fn next(&mut self) -> Option<Event> {
        self.raw.next().map(Event::from_raw)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.raw.size_hint()
    }
}

impl ExactSizeIterator for EventsIter<'_> {}
impl FusedIterator for EventsIter<'_> {}

impl fmt::Debug for EventsIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const R: Interest = Interest::READABLE;
    const W: Interest = Interest::WRITABLE;
    const P: Interest = Interest::PRIORITY;

    #[test]
    fn readiness_follows_the_documented_mapping() {
        for found in (0..0x40).chain(0x2000..0x2040) {
            for asked in (0..8).map(Interest::from_bits_truncate) {
                let has = |wanted: u32| found & wanted != 0;
                // What was not asked for is not reported by the kernel either.
                let reported = |interest, bit| !has(bit) || asked.contains(interest);
                if !(reported(R, bits::IN) && reported(W, bits::OUT) && reported(P, bits::PRI)) {
                    continue;
                }
                let ready = Ready::from_bits_asked(found, asked);
                let expected = [
                    (Ready::READABLE, asked.contains(R) && has(0x01 | 0x10 | 0x08 | 0x2000)),
                    (Ready::WRITABLE, asked.contains(W) && has(0x04 | 0x08)),
                    (Ready::PRIORITY, asked.contains(P) && has(0x02)),
                    (Ready::ERROR, has(0x08)),
                    (Ready::READ_CLOSED, has(0x10) || asked.contains(R) && has(0x2000)),
                    (Ready::WRITE_CLOSED, has(0x10)),
                    (Ready::INVALID, has(0x20)),
                ];
                for (flag, expected) in expected {
                    assert_eq!(
                        ready.contains(flag),
                        expected,
                        "{flag:?} of {found:#x} for {asked:?}"
                    );
                }
            }
        }
    }

    fn batch(capacity: usize, slots: &[u32]) -> Events {
        let mut events = Events::with_capacity(capacity);
        for &slot in slots {
            events.push(Token::new(Key::new(slot, 1), R), bits::IN);
        }
        events
    }

    fn slots(events: &Events) -> Vec<usize> {
        events.iter().map(|event| event.key.slot()).collect()
    }

    #[test]
    fn a_full_batch_takes_no_more() {
        let mut events = batch(2, &[1, 2, 3]);
        assert_eq!(slots(&events), [1, 2]);
        assert!(!events.push(Token::WAKER, bits::IN));
        assert_eq!(events.room(), 0);
    }

    #[test]
    fn retain_keeps_the_order() {
        let mut events = batch(8, &[1, 2, 3, 4]);
        events.retain(|token| token.key().slot() % 2 == 0);
        assert_eq!(slots(&events), [2, 4]);
    }

    #[test]
    fn merging_joins_flags_of_one_registration_only() {
        let mut events = batch(8, &[1, 2]);
        events.merge_last();
        assert_eq!(slots(&events), [1, 2]);
        events.push(Token::new(Key::new(1, 1), R | W), bits::OUT);
        events.merge_last();
        let first = events.iter().next().unwrap();
        assert_eq!((events.len(), first.ready), (2, Ready::READABLE | Ready::WRITABLE));
    }
}
