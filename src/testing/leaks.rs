//! What a run leaves behind: selectors that were not dropped, and sources that were not closed.

use std::collections::BTreeSet;

use super::lab::Lab;
use crate::descriptor::{Descriptor, FileId};

/// How many descriptors are looked at, from the lowest number on.
const NUMBERS: i32 = 4_096;

/// The files that were open before a run.
pub(super) struct Leaks {
    before: BTreeSet<FileId>,
}

impl Leaks {
    pub(super) fn before() -> Self {
        let before = Descriptor::lowest(NUMBERS).filter_map(Descriptor::file_id);
        Self { before: before.collect() }
    }

    /// Fails if the run has left something behind.
    pub(super) fn check(&self, lab: &Lab) -> Result<(), String> {
        let state = lab.state();
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
        for (descriptor, file) in state.pollers.seen() {
            if descriptor.file_id() == Some(file) && !self.before.contains(&file) {
                return Err(format!(
                    "descriptor {descriptor} was registered in the lab and is still open"
                ));
            }
        }
        Ok(())
    }
}
