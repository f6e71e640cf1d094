//! A batch of events as a backend writes it: a token and `poll`'s bits each, decoded when it is read.
//! On Linux the layout is epoll's, so that the kernel writes into it directly.

#![allow(unsafe_code)] // `Send` and `Sync` for a union with a pointer that is never used.

use rustix::event::PollFlags;

pub(crate) use crate::bits;
use crate::key::Token;

/// The flags of `poll` for data that can be read.
#[cfg(not(windows))]
pub(crate) const POLL_IN: PollFlags = PollFlags::IN;

/// `IN` is two flags of `WSAPoll`, of which one means urgent data.
#[cfg(windows)]
pub(crate) const POLL_IN: PollFlags = PollFlags::RDNORM;

#[cfg(epoll)]
mod layout {
    use rustix::event::epoll;

    use super::Token;

    pub(crate) type RawEvent = epoll::Event;

    #[inline]
    pub(crate) fn read(event: &RawEvent) -> (Token, u32) {
        (Token::from_u64({ event.data }.u64()), { event.flags }.bits())
    }

    #[inline]
    pub(super) fn write(token: Token, found: u32) -> RawEvent {
        epoll::Event {
            flags: epoll::EventFlags::from_bits_retain(found),
            data: epoll::EventData::new_u64(token.to_u64()),
        }
    }
}

#[cfg(not(epoll))]
mod layout {
    use super::Token;

    #[derive(Clone, Copy)]
    pub(crate) struct RawEvent {
        data: u64,
        found: u32,
    }

    #[inline]
    pub(crate) fn read(event: &RawEvent) -> (Token, u32) {
        (Token::from_u64(event.data), event.found)
    }

    #[inline]
    pub(super) fn write(token: Token, found: u32) -> RawEvent {
        RawEvent { data: token.to_u64(), found }
    }
}

pub(crate) use layout::{RawEvent, read};

/// The events of a batch; those behind its length are room for a kernel to write into.
pub(crate) struct RawEvents(Vec<RawEvent>);

// SAFETY: `epoll::Event` is neither `Send` nor `Sync` because its data may be a pointer; the data of
// these is the integer of a `Token`.
#[cfg(epoll)]
unsafe impl Send for RawEvents {}
// SAFETY: as above.
#[cfg(epoll)]
unsafe impl Sync for RawEvents {}

impl RawEvents {
    pub(crate) fn new(len: usize) -> Self {
        Self(vec![layout::write(Token::WAKER, 0); len])
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[RawEvent] {
        &self.0
    }

    /// `len` places from `start` on.
    #[inline(always)]
    #[cfg(epoll)]
    pub(crate) fn places(&mut self, start: usize, len: usize) -> &mut [RawEvent] {
        if self.0.len() < start + len {
            self.grow(start + len);
        }
        &mut self.0[start..start + len]
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        self.0.resize(len, layout::write(Token::WAKER, 0));
    }

    pub(crate) fn set(&mut self, index: usize, token: Token, found: u32) {
        if index >= self.0.len() {
            // The vector doubles its memory, but `resize` alone would add one place at a time.
            self.grow((index + 1).max(2 * self.0.len()));
        }
        self.0[index] = layout::write(token, found);
    }

    pub(crate) fn token(&self, index: usize) -> Token {
        read(&self.0[index]).0
    }

    /// Moves the events of `from` to the places that begin at `to`.
    pub(crate) fn shift(&mut self, from: std::ops::Range<usize>, to: usize) {
        self.0.copy_within(from, to);
    }
}
