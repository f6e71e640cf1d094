//! The bytes that connections send, so that every received byte can be checked.

/// Bytes that depend on the connection and on the place in its stream.
///
/// Each connection has its stretch of one pattern, over and over; where a byte belongs follows from
/// its place in the stream, so that checking is comparing memory, and a byte that is lost, doubled or
/// another connection's is noticed.
#[derive(Debug)]
pub struct Pattern(Vec<u8>);

impl Pattern {
    /// A prime, so that no two connections have the same stretch.
    const PERIOD: usize = 65_521;

    /// The longest slice.
    pub const LONGEST: usize = 64 * 1024;

    /// A period of random bytes (xorshift), and as many more as can be asked for at its end.
    pub fn new() -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let period = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        });
        let mut pattern: Vec<_> = period.take(Self::PERIOD).collect();
        pattern.extend_from_within(..);
        pattern.extend_from_within(..Self::LONGEST - Self::PERIOD);
        Self(pattern)
    }

    /// Returns the given range of this connection's stream, of at most [`LONGEST`](Self::LONGEST) bytes.
    #[inline]
    pub fn part(&self, connection: u64, position: u64, length: usize) -> &[u8] {
        let period = Self::PERIOD as u64;
        let start = (connection % period * 7919 + position % period) % period;
        &self.0[start as usize..][..length]
    }
}

impl Default for Pattern {
    fn default() -> Self {
        Self::new()
    }
}
