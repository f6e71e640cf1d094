//! Python's `selectors` for Rust: one readiness API over every mechanism the system has.

#![warn(unreachable_pub)]

mod backend;
mod descriptor;
mod error;
mod event;
mod fork;
mod interest;
mod key;
mod raw_event;
mod registration;
mod selector;
mod waker;
mod write_queue;

pub use backend::{Abilities, Backend, ParseBackendError};
pub use error::RegisterError;
pub use event::{Event, Events, EventsIter, Ready};
pub use interest::{Interest, Watch};
pub use key::Key;
pub use registration::{Registration, RegistrationMut};
pub use selector::{Drain, Iter, IterMut, Selector};
pub use waker::Waker;
pub use write_queue::WriteQueue;
