//! The decisions of a lab: drawn from its seed one by one, so that each can be left out of a run by itself.
//!
//! Each kind is drawn from a stream of its own: leaving a decision out changes how many of its kind follow, at most.

use std::collections::BTreeSet;
use std::fmt;

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

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Reset,
    Interrupted,
    WouldBlock,
    Exhausted,
    Aborted,
    Short,
    Remote,
    #[cfg(feature = "async")]
    Tasks,
    Timers,
    Order,
    Spurious,
    Delay,
    Late,
    Interrupt,
    Wake,
    Refuse,
    Stall,
    #[cfg_attr(not(unix), allow(dead_code))] // Without Unix sockets there are no wires.
    Split,
}

impl Kind {
    /// More than there are.
    const COUNT: usize = 32;
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "a reset",
            Self::Interrupted => "an interrupted operation",
            Self::WouldBlock => "WouldBlock (ns)",
            Self::Exhausted => "accept: too many descriptors",
            Self::Aborted => "accept: an aborted connection",
            Self::Short => "a short transfer: 2 to the power of",
            Self::Remote => "calls of other threads come later",
            #[cfg(feature = "async")]
            Self::Tasks => "another order of tasks",
            Self::Timers => "another order of timers",
            Self::Order => "another order of events",
            Self::Spurious => "a spurious edge",
            Self::Delay => "an event is reported later",
            Self::Late => "the wait ends late (ns)",
            Self::Interrupt => "a signal ends the wait",
            Self::Wake => "a wake without a reason",
            Self::Refuse => "a registration fails",
            Self::Stall => "a stall after the wait (ns)",
            Self::Split => "bytes come in two pieces",
        })
    }
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
    /// How many of each kind have been drawn.
    asked: [u64; Kind::COUNT],
    /// Those that took effect.
    made: Vec<u64>,
}

impl Decisions {
    pub(super) fn new(seed: u64, keep: Keep) -> Self {
        Self { seed, keep, asked: [0; Kind::COUNT], made: Vec::new() }
    }

    /// Decides whether something happens, with `chance` in 256; returns bits to shape it with.
    pub(super) fn decide(&mut self, kind: Kind, chance: u8) -> Option<Decision> {
        if chance == 0 {
            return None;
        }
        let asked = &mut self.asked[kind as usize];
        let index = *asked * Kind::COUNT as u64 + kind as u64;
        *asked += 1;
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
            decisions.decide(Kind::Order, 64);
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
