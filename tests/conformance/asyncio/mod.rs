//! Coroutines: the same on every mechanism as well.

pub mod coroutines;
pub mod servers;
pub mod sources;
pub mod streams;
pub mod task_faults;
pub mod time;

/// More than the kernel takes for a peer that does not read.
const MORE_THAN_FITS: usize = 30_000_000;
