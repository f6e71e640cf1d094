//! A batch of events as a mechanism writes it: a token and `poll`'s bits each, decoded only when
//! looked at. On Linux the layout is epoll's, so that the kernel writes straight into it.

#![allow(unsafe_code)] // `Send` and `Sync` for a union with a pointer that is never used.

use crate::key::Token;

/// `poll`'s bits, with Linux's values on every system.
pub(crate) mod bits {
    pub(crate) const IN: u32 = 0x01;
    pub(crate) const PRI: u32 = 0x02;
    pub(crate) const OUT: u32 = 0x04;
    pub(crate) const ERR: u32 = 0x08;
    pub(crate) const HUP: u32 = 0x10;
    pub(crate) const NVAL: u32 = 0x20;
    pub(crate) const RDHUP: u32 = 0x2000;

    /// All of them; a kernel has more.
    #[cfg(epoll)]
    pub(crate) const ALL: u32 = IN | PRI | OUT | ERR | HUP | NVAL | RDHUP;
}

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

/// A fixed number of events.
pub(crate) struct RawEvents(Box<[RawEvent]>);

// SAFETY: what makes epoll's event neither `Send` nor `Sync` is the pointer in its data; all that is
// ever stored there is the integer of a `Token`.
#[cfg(epoll)]
unsafe impl Send for RawEvents {}
// SAFETY: as above.
#[cfg(epoll)]
unsafe impl Sync for RawEvents {}

impl RawEvents {
    pub(crate) fn new(len: usize) -> Self {
        Self(vec![layout::write(Token::WAKER, 0); len].into_boxed_slice())
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[RawEvent] {
        &self.0
    }

    #[cfg(epoll)]
    pub(crate) fn as_mut_slice(&mut self) -> &mut [RawEvent] {
        &mut self.0
    }

    pub(crate) fn set(&mut self, index: usize, token: Token, found: u32) {
        self.0[index] = layout::write(token, found);
    }

    pub(crate) fn token(&self, index: usize) -> Token {
        read(&self.0[index]).0
    }

    pub(crate) fn bits(&self, index: usize) -> u32 {
        read(&self.0[index]).1
    }
}
