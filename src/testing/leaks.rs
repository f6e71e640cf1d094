//! What a run leaves behind: selectors that were not dropped, and sources that were not closed.

use std::collections::{BTreeMap, BTreeSet};

use super::lab::Lab;
use crate::descriptor::{Descriptor, FileId};

/// How many descriptors are looked at, from the lowest number on.
const NUMBERS: i32 = 4_096;

/// The files that were open before the runs, and those that the runs have registered.
pub(super) struct Leaks {
    before: BTreeSet<FileId>,
    /// The last file of each descriptor, with the seed of its run.
    registered: BTreeMap<Descriptor, (FileId, u64)>,
}

/// A descriptor that a run has left open.
pub(super) struct Leak {
    pub(super) seed: u64,
    pub(super) message: String,
}

impl Leaks {
    pub(super) fn before() -> Self {
        let before = Descriptor::lowest(NUMBERS).filter_map(Descriptor::file_id);
        Self { before: before.collect(), registered: BTreeMap::new() }
    }

    /// Notes what a run has registered; fails if it has left a selector or a loop behind.
    pub(super) fn add(&mut self, lab: &Lab) -> Result<(), String> {
        let state = lab.state();
        // A number that is used again was closed before.
        let files = state.pollers.seen().filter(|(_, file)| !self.before.contains(file));
        self.registered.extend(files.map(|(descriptor, file)| (descriptor, (file, lab.seed()))));
        let left: Vec<_> = state
            .pollers
            .iter()
            .map(|poller| {
                format!("one on {} with {} sources", poller.backend, poller.watched.len())
            })
            .collect();
        if !left.is_empty() {
            return Err(format!("selectors or loops were not dropped: {}", left.join("; ")));
        }
        Ok(())
    }

    /// Looks for files that are still open.
    ///
    /// Not after every run: a look at a descriptor holds its file for a moment, and the number may belong to another
    /// thread's run by now, where a closed stream would not end.
    pub(super) fn check(&mut self) -> Result<(), Leak> {
        for (descriptor, (file, seed)) in std::mem::take(&mut self.registered) {
            if descriptor.file_id() == Some(file) {
                let message =
                    format!("descriptor {descriptor} was registered in the lab and is still open");
                return Err(Leak { seed, message });
            }
        }
        Ok(())
    }
}
