//! A laboratory for programs that stand on this crate (feature `testing`): virtual time, seeded disorder and injected
//! faults.

mod decisions;
mod disorder;
mod explore;
mod faults;
mod lab;
mod leaks;
mod log;
mod poller;
mod pollers;
mod stuck;
mod time;
#[cfg(unix)]
mod wire;

pub use disorder::Disorder;
pub use explore::{Failure, explore, first_failure};
pub use faults::{Faults, Flaky};
pub use lab::{InLab, Lab, Outside};
pub(crate) use poller::LabPoller;
pub(crate) use stuck::Stuck;
#[cfg(unix)]
pub use wire::{Link, Wire};
