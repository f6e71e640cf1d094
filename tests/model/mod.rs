//! A plain model of a selector: programs, subjects, and the conditions that hold after each step.

pub mod changes;
#[cfg(unix)]
pub mod child;
pub mod dimensions;
pub mod ending;
pub mod faults;
#[cfg(unix)]
pub mod forks;
#[cfg(unix)]
#[allow(dead_code)] // Other tests use the rest of it.
#[path = "../support/injector.rs"]
pub mod injector;
#[cfg(unix)]
pub mod nesting;
#[cfg(unix)]
#[path = "../support/own_descriptors.rs"]
pub mod own_descriptors;
#[cfg(unix)]
pub mod poll_truth;
pub mod program;
#[cfg(unix)]
pub mod subject;
#[cfg(windows)]
#[path = "windows_subject.rs"]
pub mod subject;
pub mod threads;
pub mod truth;
pub mod wait;
pub mod watchdog;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{child, forks, injector, nesting};
