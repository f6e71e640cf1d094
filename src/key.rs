//! [`Key`], the user's handle of a registration, and the token that stands for it in a backend.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::interest::Interest;

/// Names one registration of one [`Selector`](crate::Selector).
///
/// A key is a slot and a generation. The generation comes from one counter of the whole process, so
/// a key whose registration is gone, or that belongs to another selector, finds no registration: it never
/// names a later registration in the same slot. (The counter has 32 bits; a key kept while four
/// thousand million further registrations are made could be reused.)
///
/// Keys are small, `Copy`, and can be stored in maps and sets.
///
/// ```
/// # #[cfg(unix)] {
/// use polyselect::{Interest, Selector};
/// use std::os::unix::net::UnixStream;
///
/// let (left, right) = UnixStream::pair()?;
/// let mut selector = Selector::new()?;
/// let first = selector.register(left, Interest::READABLE, "left")?;
/// let (left, _) = selector.unregister(first)?.into_parts();
/// let second = selector.register(left, Interest::READABLE, "left again")?;
/// assert_ne!(first, second);
/// assert!(selector.get(first).is_none());
/// # drop(right); }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    slot: u32,
    generation: u32,
}

impl Key {
    #[inline]
    pub(crate) const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    #[inline]
    pub(crate) const fn slot(self) -> usize {
        self.slot as usize
    }

    #[inline]
    pub(crate) const fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Slot, `v`, generation: `3v17`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}v{}", self.slot, self.generation)
    }
}

/// The next generation of the process.
pub(crate) fn next_generation() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    // Only uniqueness matters, and that needs no ordering.
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The 64 bits that a backend stores for a registration and returns with each of its events: the key, and
/// the interest, which decides what a hang-up makes ready.
///
/// From the top: 32 bits of generation, 3 of interest, 29 of slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(u64);

const SLOT_BITS: u32 = 29;
const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;

impl Token {
    /// The waker's token; its slot is above [`Token::MAX_SLOT`], so no registration has it.
    pub(crate) const WAKER: Self = Self(SLOT_MASK as u64);

    /// The token of a descriptor that a backend watches for itself.
    #[cfg_attr(not(any(afd, kqueue)), allow(dead_code))]
    pub(crate) const INTERNAL: Self = Self(SLOT_MASK as u64 - 1);

    /// The highest slot that a registration may have.
    pub(crate) const MAX_SLOT: usize = SLOT_MASK as usize - 2;

    #[inline]
    pub(crate) const fn new(key: Key, interest: Interest) -> Self {
        let low = (interest.bits() as u32) << SLOT_BITS | key.slot;
        Self((key.generation as u64) << 32 | low as u64)
    }

    #[inline]
    pub(crate) const fn key(self) -> Key {
        Key { slot: self.0 as u32 & SLOT_MASK, generation: (self.0 >> 32) as u32 }
    }

    #[inline]
    pub(crate) const fn interest(self) -> Interest {
        Interest::from_bits_truncate((self.0 as u32 >> SLOT_BITS) as u8)
    }

    #[inline]
    pub(crate) const fn from_u64(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(crate) const fn to_u64(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_carries_key_and_interest() {
        for slot in [0, 1, Token::MAX_SLOT as u32] {
            for generation in [0, 1, u32::MAX] {
                for bits in 0..8 {
                    let (key, asked) =
                        (Key::new(slot, generation), Interest::from_bits_truncate(bits));
                    let token = Token::from_u64(Token::new(key, asked).to_u64());
                    assert_eq!((token.key(), token.interest()), (key, asked));
                    assert_ne!(token, Token::WAKER);
                }
            }
        }
    }

    #[test]
    fn keys_print_slot_and_generation() {
        assert_eq!(format!("{:?}", Key::new(3, 17)), "Key(3v17)");
    }

    #[test]
    fn generations_do_not_repeat() {
        assert_ne!(next_generation(), next_generation());
    }
}
