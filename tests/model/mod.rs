//! A plain model of a selector: programs, subjects, and the conditions that hold after each step.

pub mod changes;
pub mod child;
pub mod dimensions;
pub mod ending;
pub mod faults;
pub mod forks;
#[allow(dead_code)] // Other tests use the rest of it.
#[path = "../support/injector.rs"]
pub mod injector;
pub mod nesting;
#[path = "../support/own_descriptors.rs"]
pub mod own_descriptors;
pub mod program;
pub mod subject;
pub mod threads;
pub mod truth;
pub mod wait;
pub mod watchdog;
