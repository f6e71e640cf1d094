//! The decisions of a lab: drawn from its seed one by one, so that each can be left out of a run by itself.

use std::collections::BTreeSet;

/// A mixer of 64 bits, for seeds that are neighbours (splitmix64's finalizer).
pub(super) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The bits of one place of a seed's stream.
pub(super) fn bits_at(seed: u64, stream: u64, index: u64) -> u64 {
    let start = mix(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mix(start.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// Which decisions of a run take effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    All,
    These(BTreeSet<u64>),
}

impl Keep {
    fn contains(&self, index: u64) -> bool {
        match self {
            Self::All => true,
            Self::These(indexes) => indexes.contains(&index),
        }
    }
}

/// The decisions of a run.
#[derive(Debug)]
pub(super) struct Decisions {
    seed: u64,
    keep: Keep,
    asked: u64,
    /// Those that took effect.
    made: Vec<u64>,
}

impl Decisions {
    pub(super) fn new(seed: u64, keep: Keep) -> Self {
        Self { seed, keep, asked: 0, made: Vec::new() }
    }

    /// Decides whether something happens that has so many chances in 256; returns bits to shape it with.
    pub(super) fn decide(&mut self, chance: u8) -> Option<Decision> {
        if chance == 0 {
            return None;
        }
        let index = self.asked;
        self.asked += 1;
        let bits = bits_at(self.seed, 0, index);
        let happens = (bits & 0xff) < u64::from(chance) && self.keep.contains(index);
        happens.then(|| {
            self.made.push(index);
            Decision { index, bits: mix(bits) }
        })
    }

    /// The indexes of the decisions that took effect.
    pub(super) fn made(&self) -> &[u64] {
        &self.made
    }
}

/// A decision that something happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision {
    pub(super) index: u64,
    bits: u64,
}

impl Decision {
    /// A number below `bound`, and zero if that is zero.
    pub(super) fn below(&self, bound: u64) -> u64 {
        // The bias is of no importance.
        if bound == 0 { 0 } else { (self.bits >> 16) % bound }
    }

    /// Another number below `bound`, which is not zero.
    pub(super) fn again(&self, bound: u64) -> u64 {
        mix(self.bits) % bound
    }

    /// Puts the items into an order of its own.
    pub(super) fn shuffle<T>(&self, items: &mut [T]) {
        for length in (2..=items.len()).rev() {
            let other = bits_at(self.bits, 1, length as u64) % length as u64;
            items.swap(length - 1, other as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64, keep: Keep) -> Decisions {
        let mut decisions = Decisions::new(seed, keep);
        for _ in 0..1_000 {
            decisions.decide(64);
        }
        decisions
    }

    #[test]
    fn the_same_seed_decides_the_same_and_neighbours_differ() {
        let all: Vec<_> = (0..20).map(|seed| run(seed, Keep::All).made().to_vec()).collect();
        for (seed, made) in all.iter().enumerate() {
            assert_eq!(made, run(seed as u64, Keep::All).made());
            assert!((150..350).contains(&made.len()), "{} of 1000", made.len());
            assert!(all[..seed].iter().all(|other| other != made));
        }
    }

    #[test]
    fn decisions_that_are_left_out_change_no_others() {
        let made = run(7, Keep::All).made().to_vec();
        let half: BTreeSet<_> = made.iter().copied().step_by(2).collect();
        assert!(run(7, Keep::These(half.clone())).made().iter().eq(&half));
    }

    #[test]
    fn every_place_is_reached_by_a_shuffle() {
        let mut seen = BTreeSet::new();
        for index in 0..200 {
            let mut items = [0, 1, 2];
            Decision { index, bits: bits_at(1, 2, index) }.shuffle(&mut items);
            seen.insert(items);
        }
        assert_eq!(seen.len(), 6);
    }
}
