//! The lab: its time, its disorder, its faults, and the mistakes that it finds.

mod disorder;
mod faults;
#[cfg(unix)]
mod nesting;
#[cfg(unix)] // Each mistake takes a thousand seeds.
mod planted;
mod programs;
#[cfg(unix)] // Without wires the network decides when bytes arrive.
mod repeatable;
mod searching;
mod sockets;
#[cfg(unix)] // It measures.
mod speed;
mod spurious;
mod time;
#[cfg(unix)]
mod wires;
