//! A laboratory for tests (feature `testing`): virtual time, seeded disorder and injected faults.
//!
//! A loop or a selector in a [`Lab`] has the lab's clock, which jumps to the next deadline when nothing is ready.
//! [`explore`] runs a test under many seeds, each of which changes what a system may change: see [`Disorder`]. Sources
//! fail if they are [`Flaky`]; `Lab::stream_pair` returns connected streams with latency and bandwidth.
//!
//! A whole program gets the disorder of a level, with the system's clock, from the environment variable
//! `POLYSELECT_DISORDER`: a level and a seed, such as `promised:42`. Creating a selector panics if the value is anything
//! else.
//!
//! The page [Testing your reactor](crate::_docs::testing) shows how they work together.
//!
//! ```
//! use polyselect::testing::{Disorder, explore};
//! use polyselect::EventLoop;
//! use std::time::Duration;
//!
//! explore(0..50, Disorder::network(), |lab| {
//!     let mut event_loop = EventLoop::new(false).unwrap();
//!     event_loop.call_later(Duration::from_secs(3600), |event_loop| event_loop.state = true);
//!     event_loop.run().unwrap();
//!     assert!(event_loop.state && lab.elapsed() >= Duration::from_secs(3600));
//! });
//! ```

mod ambient;
mod decisions;
mod disorder;
mod faults;
mod guards;
mod lab;
mod leaks;
#[cfg(unix)]
mod link;
mod log;
mod poller;
mod pollers;
mod search;
mod stuck;
mod time;
#[cfg(unix)]
mod wire;
#[cfg(unix)]
mod wires;

pub use ambient::InLab;
pub use disorder::Disorder;
pub use faults::{Faults, Flaky};
pub use guards::Outside;
pub use lab::Lab;
#[cfg(unix)]
pub use link::Link;
pub(crate) use poller::LabPoller;
pub use search::{Failure, explore, first_failure};
pub(crate) use stuck::Stuck;
#[cfg(unix)]
pub use wire::Wire;
