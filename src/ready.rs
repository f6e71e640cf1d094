//! [`Ready`]: the readiness of a source, translated from the bits of `poll`.

use bitflags::bitflags;

use crate::bits;
use crate::interest::Interest;

bitflags! {
    /// The readiness of a source, with its details.
    ///
    /// `READABLE`, `WRITABLE` and `PRIORITY` mean the same on every backend, and are set only if the
    /// [`Interest`] includes them. A hang-up or an error satisfies `READABLE` and `WRITABLE`, because the
    /// read or write that follows reports it without blocking. The other flags are details: they are set
    /// where the backend reports them, whatever the interest.
    ///
    /// With B for the bits that `poll` reports:
    ///
    /// | flag | condition |
    /// |---|---|
    /// | `READABLE` | in the interest, and B has `IN`, `HUP`, `ERR` or `RDHUP` |
    /// | `WRITABLE` | in the interest, and B has `OUT`, `HUP` or `ERR` |
    /// | `PRIORITY` | in the interest, and B has `PRI` |
    /// | `ERROR` | B has `ERR` |
    /// | `READ_CLOSED` | B has `HUP`; or `RDHUP`, and `READABLE` is in the interest |
    /// | `WRITE_CLOSED` | B has `HUP` |
    /// | `INVALID` | B has `NVAL`, or the kernel rejected a change; no event follows it |
    ///
    /// One exception: without `READABLE` in the interest the `select` backend cannot see a hang-up, unless the
    /// kernel also calls the descriptor writable.
    ///
    /// ```
    /// use polyselect::Ready;
    ///
    /// let ready = Ready::READABLE | Ready::READ_CLOSED;
    /// assert!(ready.contains(Ready::READABLE));
    /// assert!(!ready.intersects(Ready::WRITABLE | Ready::ERROR));
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Ready: u16 {
        /// A read does not block: there are data, a connection, the end of the stream, or an error.
        const READABLE = 1 << 0;
        /// There are priority data.
        const PRIORITY = 1 << 1;
        /// A write does not block: there is room, or an error.
        const WRITABLE = 1 << 2;
        /// The source has a pending error; `SO_ERROR` or the next read or write returns it.
        const ERROR = 1 << 3;
        /// The peer has shut down its writing side; data sent before can still be read.
        const READ_CLOSED = 1 << 4;
        /// Nothing that is written can reach the peer any more.
        const WRITE_CLOSED = 1 << 5;
        /// The descriptor is not open, or the kernel rejected a change of the watch. Reported once; the
        /// registration is silent until its watch is set again. `unregister` still returns the source.
        const INVALID = 1 << 6;
    }
}

/// The common event needs no translation: these three bits have the same place on both sides.
const PLAIN: u32 = bits::IN | bits::PRI | bits::OUT;
const _: () = assert!(
    Ready::READABLE.bits() as u32 == bits::IN
        && Ready::PRIORITY.bits() as u32 == bits::PRI
        && Ready::WRITABLE.bits() as u32 == bits::OUT
);

impl Ready {
    #[inline]
    pub(crate) fn from_poll_bits(found: u32, interest: Interest) -> Self {
        if found & !PLAIN == 0 {
            Self::from_bits_retain(found as u16)
        } else {
            Self::with_details(found, interest)
        }
    }

    fn with_details(found: u32, interest: Interest) -> Self {
        let has = |wanted: u32| found & wanted != 0;
        let reads = interest.contains(Interest::READABLE);
        let writes = interest.contains(Interest::WRITABLE);
        let mut ready = Self::empty();
        ready.set(Self::READABLE, reads && has(bits::IN | bits::HUP | bits::ERR | bits::RDHUP));
        ready.set(Self::WRITABLE, writes && has(bits::OUT | bits::HUP | bits::ERR));
        ready.set(Self::PRIORITY, interest.contains(Interest::PRIORITY) && has(bits::PRI));
        ready.set(Self::ERROR, has(bits::ERR));
        ready.set(Self::READ_CLOSED, has(bits::HUP) || reads && has(bits::RDHUP));
        ready.set(Self::WRITE_CLOSED, has(bits::HUP));
        ready.set(Self::INVALID, has(bits::NVAL));
        ready
    }
}

/// The readiness that an interest waits for.
impl From<Interest> for Ready {
    fn from(interest: Interest) -> Self {
        let mut ready = Self::empty();
        ready.set(Self::READABLE, interest.contains(Interest::READABLE));
        ready.set(Self::WRITABLE, interest.contains(Interest::WRITABLE));
        ready.set(Self::PRIORITY, interest.contains(Interest::PRIORITY));
        ready
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
                // The kernel reports these three only if they are in the interest.
                let reported = |interest, bit| !has(bit) || asked.contains(interest);
                if !(reported(R, bits::IN) && reported(W, bits::OUT) && reported(P, bits::PRI)) {
                    continue;
                }
                let ready = Ready::from_poll_bits(found, asked);
                let expected = [
                    (Ready::READABLE, asked.contains(R) && has(0x01 | 0x10 | 0x08 | 0x2000)),
                    (Ready::WRITABLE, asked.contains(W) && has(0x04 | 0x08 | 0x10)),
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
}
