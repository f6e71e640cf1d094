//! The result of a wait: [`Event`]s in [`Events`], each with its [`Ready`] flags.

use std::fmt;
use std::iter::FusedIterator;

use crate::key::{Key, Token};
use crate::raw_event::{self, RawEvent, RawEvents, bits};
use crate::ready::Ready;

/// A registration that is ready, and its readiness.
///
/// An event of a level-triggered registration was true when [`select`](crate::Selector::select) returned;
/// an edge may be spurious. The handling of earlier events in the same batch may have unregistered the
/// source: its key then finds nothing.
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
    /// The key of the registration.
    pub key: Key,
    /// The readiness.
    pub ready: Ready,
}

impl Event {
    /// Makes an event, so that a function that handles events can be tested by itself.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use polyselect::{Event, Interest, Ready, Selector};
    /// # use std::os::unix::net::UnixStream;
    ///
    /// fn wants_to_read(event: Event) -> bool {
    ///     event.is_readable() && !event.is_error()
    /// }
    ///
    /// # let (left, _right) = UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// let key = selector.register(left, Interest::READABLE, ())?;
    /// assert!(wants_to_read(Event::new(key, Ready::READABLE)));
    /// assert!(!wants_to_read(Event::new(key, Ready::READABLE | Ready::ERROR)));
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub const fn new(key: Key, ready: Ready) -> Self {
        Self { key, ready }
    }

    #[inline]
    fn from_raw(raw: &RawEvent) -> Self {
        let (token, found) = raw_event::read(raw);
        Self { key: token.key(), ready: Ready::from_poll_bits(found, token.interest()) }
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
    /// Returns whether [`Ready::READABLE`] is set.
    is_readable = READABLE;
    /// Returns whether [`Ready::WRITABLE`] is set.
    is_writable = WRITABLE;
    /// Returns whether [`Ready::PRIORITY`] is set.
    is_priority = PRIORITY;
    /// Returns whether [`Ready::ERROR`] is set.
    is_error = ERROR;
    /// Returns whether [`Ready::READ_CLOSED`] is set.
    is_read_closed = READ_CLOSED;
    /// Returns whether [`Ready::WRITE_CLOSED`] is set.
    is_write_closed = WRITE_CLOSED;
    /// Returns whether [`Ready::INVALID`] is set.
    is_invalid = INVALID;
}

/// The events of one [`select`](crate::Selector::select), in memory that is reused from call to call.
///
/// The capacity bounds the events that a kernel returns in one call: epoll and kqueue return the rest with the
/// next calls, in order. A backend that has looked at every source (poll, select) reports all that are
/// ready, and the memory grows if that is more than the capacity; it never shrinks.
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
    /// How many places of `raw` belong to this batch.
    len: usize,
    capacity: usize,
    /// Whether a descriptor of this batch is not open, or a change was rejected.
    has_invalid: bool,
}

impl Events {
    /// Makes room for `capacity` events; zero counts as one.
    ///
    /// ```
    /// use polyselect::Events;
    ///
    /// assert_eq!(Events::with_capacity(0).capacity(), 1);
    /// ```
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { raw: RawEvents::new(capacity + 1), len: 0, capacity, has_invalid: false }
    }

    /// Returns the number of events that a kernel may return in one call.
    ///
    /// ```
    /// use polyselect::Events;
    ///
    /// assert_eq!(Events::with_capacity(64).capacity(), 64);
    /// ```
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns how many events the last wait returned.
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

    /// Returns whether the last wait returned no event.
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

    /// Walks the events of the last wait, in the order in which the backend reported them. See [`Event`]
    /// for an example with a `for` loop over `&events`.
    ///
    /// ```
    /// use polyselect::Events;
    ///
    /// assert_eq!(Events::with_capacity(64).iter().count(), 0);
    /// ```
    #[inline]
    pub fn iter(&self) -> EventsIter<'_> {
        EventsIter { raw: self.batch().iter() }
    }

    /// Removes the events of the last wait; `select` does so itself.
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

    #[inline]
    fn batch(&self) -> &[RawEvent] {
        &self.raw.as_slice()[..self.len]
    }

    /// The event at this index, counted from zero.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<Event> {
        self.batch().get(index).map(Event::from_raw)
    }

    /// The number of events that a kernel may return: one more than the capacity, because the waker's event is
    /// removed before the user sees the batch.
    #[cfg(any(afd, event_port, kqueue, mio))]
    pub(crate) fn room(&self) -> usize {
        self.capacity + 1
    }

    /// Adds an event with `poll`'s bits.
    #[inline]
    pub(crate) fn push(&mut self, token: Token, found: u32) {
        self.raw.set(self.len, token, found);
        self.len += 1;
    }

    /// Remembers whether an event that was added reports a registration as invalid, which then is silent.
    pub(crate) fn note_invalid(&mut self, found: u32) {
        self.has_invalid |= found & bits::NVAL != 0;
    }

    #[inline]
    pub(crate) fn has_invalid(&self) -> bool {
        self.has_invalid
    }

    pub(crate) fn take_has_invalid(&mut self) -> bool {
        std::mem::take(&mut self.has_invalid)
    }

    /// Lets a kernel write events; `write` returns how many.
    #[inline(always)]
    #[cfg(epoll)]
    pub(crate) fn fill<E>(
        &mut self,
        write: impl FnOnce(&mut [RawEvent]) -> Result<usize, E>,
    ) -> Result<(), E> {
        self.len += write(self.raw.places(self.len, self.capacity + 1))?;
        Ok(())
    }

    /// Moves the events, each with `poll`'s bits, to `batch`.
    #[cfg(feature = "testing")]
    pub(crate) fn take(&mut self, batch: &mut Vec<(Token, u32)>) {
        batch.clear();
        batch.extend(self.batch().iter().map(raw_event::read));
        self.clear();
    }

    pub(crate) fn token(&self, index: usize) -> Token {
        self.raw.token(index)
    }

    #[inline]
    pub(crate) fn has_waker(&self) -> bool {
        self.batch().iter().any(|raw| raw_event::read(raw).0 == Token::WAKER)
    }

    /// Removes the waker's event; returns whether there was one.
    pub(crate) fn remove_waker(&mut self) -> bool {
        let before = self.len;
        if self.has_waker() {
            self.retain(|token| token != Token::WAKER);
        }
        self.len < before
    }

    /// Removes the events for which `keep` is false; the others keep their order.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Token) -> bool) {
        let mut kept = 0;
        for index in 0..self.len {
            if keep(self.raw.token(index)) {
                self.raw.shift(index..index + 1, kept);
                kept += 1;
            }
        }
        self.len = kept;
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

/// An iterator over [`Events`]: [`Events::iter`].
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
    use crate::bits;
    use crate::interest::Interest;

    const R: Interest = Interest::READABLE;

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
    fn a_batch_grows_beyond_its_capacity() {
        let all: Vec<_> = (0..100).collect();
        let events = batch(2, &all);
        assert_eq!((events.capacity(), events.len()), (2, 100));
        assert_eq!(slots(&events), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn retain_keeps_the_order() {
        let mut events = batch(8, &[1, 2, 3, 4]);
        events.retain(|token| token.key().slot() % 2 == 0);
        assert_eq!(slots(&events), [2, 4]);
    }

    #[test]
    fn the_event_of_the_waker_is_removed_and_the_order_kept() {
        for position in 0..4 {
            let mut events = Events::with_capacity(1);
            for index in 0..4 {
                let token = Token::new(Key::new(index, 1), R);
                events.push(if index == position { Token::WAKER } else { token }, bits::IN);
            }
            assert!(events.remove_waker());
            assert!(!events.remove_waker());
            let expected: Vec<_> = (0..4).filter(|&index| index != position as usize).collect();
            assert_eq!(slots(&events), expected);
        }
    }
}
