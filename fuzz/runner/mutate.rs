//! Random changes, without feedback from coverage.

/// A repeatable generator (xorshift).
pub struct Mutator(u64);

const LONGEST: usize = 4096;

impl Mutator {
    pub fn new(seed: u64) -> Self {
        // Spreads small seeds, which are alike, and avoids zero, which would stay zero.
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns a number below `limit`, or zero if `limit` is zero.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    /// Returns a new input, usually a mutation of one from the corpus.
    pub fn input(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        if corpus.is_empty() || self.below(16) == 0 {
            let length = self.below(400);
            return (0..length).map(|_| self.byte()).collect();
        }
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(5) {
            let other = &corpus[self.below(corpus.len())];
            self.change(&mut input, other);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(input.len());
        let end = at + self.below((input.len() - at).min(32) + 1);
        match self.below(7) {
            0 if !input.is_empty() => input[at] ^= 1 << self.below(8),
            1 if !input.is_empty() => input[at] = self.byte(),
            2 => drop(input.drain(at..end)),
            3 => {
                let some = input[at..end].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, some);
            }
            4 => {
                let from = self.below(other.len());
                let to = from + self.below((other.len() - from).min(64) + 1);
                input.splice(at..end, other[from..to].iter().copied());
            }
            5 if !input.is_empty() => input[at] = input[at].wrapping_add(1 + self.byte() % 8),
            _ => {
                let byte = self.byte();
                input.insert(at, byte);
            }
        }
    }
}
