//! The lab: its time, its disorder, its faults, and the mistakes that it finds.

#![cfg(unix)]

mod disorder;
mod faults;
mod planted;
mod programs;
mod repeatable;
mod searching;
mod speed;
mod spurious;
mod time;
mod wires;
