//! A map from descriptors to values that lie side by side, so that a backend can walk them all.

use crate::descriptor::{Descriptor, DescriptorTable};

#[derive(Debug)]
pub(super) struct FdMap<T> {
    positions: DescriptorTable,
    entries: Vec<(Descriptor, T)>,
}

impl<T> Default for FdMap<T> {
    fn default() -> Self {
        Self { positions: DescriptorTable::default(), entries: Vec::new() }
    }
}

// Each set of backends uses a part of it.
#[allow(dead_code)]
impl<T> FdMap<T> {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn position(&self, descriptor: Descriptor) -> Option<usize> {
        self.positions.get(descriptor)
    }

    /// Inserts or replaces the value of `descriptor`; returns its position.
    #[inline]
    pub(super) fn insert(&mut self, descriptor: Descriptor, value: T) -> usize {
        match self.positions.get(descriptor) {
            Some(position) => {
                self.entries[position].1 = value;
                position
            }
            None => {
                let position = self.entries.len();
                self.positions.insert(descriptor, position);
                self.entries.push((descriptor, value));
                position
            }
        }
    }

    /// Removes a value. The last value moves to its position, which is returned.
    #[inline]
    pub(super) fn remove(&mut self, descriptor: Descriptor) -> Option<(usize, T)> {
        let position = self.positions.remove(descriptor)?;
        let (_, value) = self.entries.swap_remove(position);
        if let Some(&(moved, _)) = self.entries.get(position) {
            self.positions.insert(moved, position);
        }
        Some((position, value))
    }

    /// The descriptors and values, in the order of their positions.
    pub(super) fn as_slice(&self) -> &[(Descriptor, T)] {
        &self.entries
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|(_, value)| value)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::collections::HashMap;
    use std::fs::File;

    use super::*;

    #[test]
    fn a_map_agrees_with_the_standard_one_after_any_inserts_and_removals() {
        let files: Vec<_> = (0..8).map(|_| File::open("/dev/null").unwrap()).collect();
        let descriptors: Vec<_> = files.iter().map(Descriptor::of).collect();
        let (mut map, mut expected) = (FdMap::default(), HashMap::new());
        let mut state = 1_u32;
        for step in 0..2000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let index = (state >> 16) as usize % descriptors.len();
            if state >> 31 == 0 {
                let position = map.insert(descriptors[index], step);
                assert_eq!(map.as_slice()[position], (descriptors[index], step));
                expected.insert(index, step);
            } else {
                let removed = map.remove(descriptors[index]).map(|(_, value)| value);
                assert_eq!(removed, expected.remove(&index));
            }
            assert_eq!(map.as_slice().len(), expected.len());
            for (index, &descriptor) in descriptors.iter().enumerate() {
                let found = map.position(descriptor).map(|position| map.as_slice()[position].1);
                assert_eq!(found, expected.get(&index).copied());
            }
        }
    }
}
