//! Coroutines: the same on every mechanism as well.

pub mod coroutines;
pub mod servers;
pub mod sources;
pub mod streams;
pub mod time;
