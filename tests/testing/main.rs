//! The laboratory: its time, its disorder, its faults, and the mistakes that it finds.

#![cfg(unix)]

mod programs;
mod time;
