//! The log of a lab: what it decided, beside what the program saw.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::panic::Location;
use std::time::Duration;

use super::decisions::{Kind, mix};
use crate::ready::Ready;

/// How many entries are kept for printing.
const KEPT: usize = 2_000;

#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// An event of the registration with this number.
    Event {
        slot: usize,
        ready: Ready,
    },
    /// A decision that took effect: its index, and what it did.
    Decided {
        index: u64,
        kind: Kind,
        amount: u64,
    },
    Jump,
    /// User code that the loop called.
    Call {
        what: &'static str,
        place: Option<&'static Location<'static>>,
    },
    Note(String),
}

#[derive(Debug)]
pub(super) struct Log {
    entries: VecDeque<(u64, Entry)>,
    fingerprint: u64,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { entries: VecDeque::new(), fingerprint: 0 }
    }

    pub(super) fn push(&mut self, now: u64, entry: Entry) {
        let mut hash = |bits: u64| self.fingerprint = mix(self.fingerprint ^ mix(bits));
        hash(now);
        match &entry {
            Entry::Event { slot, ready } => {
                hash(*slot as u64);
                hash(u64::from(ready.bits()));
            }
            Entry::Decided { index, amount, .. } => {
                hash(*index);
                hash(*amount);
            }
            Entry::Jump => {}
            Entry::Call { place, .. } => hash(place.map_or(0, |place| u64::from(place.line()))),
            Entry::Note(text) => text.bytes().for_each(|byte| hash(u64::from(byte))),
        }
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back((now, entry));
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.entries.len() == KEPT {
            writeln!(f, "  (the last {KEPT} entries)")?;
        }
        for (now, entry) in &self.entries {
            let moment = format!("{:?}", Duration::from_nanos(*now));
            write!(f, "  {moment:>14}  ")?;
            match entry {
                Entry::Event { slot, ready } => writeln!(f, "event of #{slot}: {ready:?}")?,
                Entry::Decided { index, kind, amount } => {
                    let mut text = kind.to_string();
                    if *amount > 0 {
                        write!(text, " ({amount})")?;
                    }
                    writeln!(f, "decision {index}: {text}")?;
                }
                Entry::Jump => writeln!(f, "time has jumped here")?,
                Entry::Call { what, place: None } => writeln!(f, "{what}")?,
                Entry::Call { what, place: Some(place) } => writeln!(f, "{what} {place}")?,
                Entry::Note(text) => writeln!(f, "{text}")?,
            }
        }
        Ok(())
    }
}
