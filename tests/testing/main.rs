//! The lab: its time, its disorder, its faults, and the mistakes that it finds.

mod disorder;
mod faults;
#[cfg(unix)]
mod nesting;
mod planted;
mod programs;
mod repeatable;
mod searching;
mod sockets;
mod speed;
mod spurious;
mod time;
#[cfg(unix)]
mod wires;
