//! Coroutines: the same on every mechanism as well.

pub mod coroutines;
