//! A simulated kqueue for tests on Linux: the calls `kqueue` and `kevent` with the results of a
//! BSD's or macOS's kernel, over real Linux pipes, sockets and files.
//!
//! `POLYSELECT_KQUEUE_PROFILE` chooses the system: `netbsd-2016`, `netbsd` (the default), `freebsd`, `openbsd`,
//! `dragonfly` or `macos`. Their differences are the fields of [`Profile`]. `tests/kqueue_table.rs` lists the
//! answers, one a row.
//!
//! A queue's descriptor is a real one, an epoll, so that it can be duplicated, closed and watched
//! by other loops. Linux nests no more than five of them; a queue that is nested more deeply is
//! polled every few milliseconds. The epoll watches the files edge-triggered: an event of it
//! corresponds to a kernel's `KNOTE`. Whether a filter is true is then decided by `poll` and by
//! ioctls ([`eyes`]).
//!
//! The file that includes this one, the library under test or a test, has the program's own `close`
//! ([`interpose`]), so that closing a watched descriptor removes its filters.

#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    clippy::missing_safety_doc,
    clippy::cast_possible_wrap,
    clippy::multiple_unsafe_ops_per_block,
    dead_code,
    unused_imports
)]

mod abi;
mod calls;
mod eyes;
mod faults;
mod filter;
mod interpose;
mod poll;
mod profile;
mod queue;
mod state;

pub use abi::*;
pub use calls::{kevent, kqueue};
pub use poll::poll;
pub use profile::{ALL_PROFILES, Profile, profile};

/// Whether the system has a filter for priority data.
pub fn has_except() -> bool {
    profile().has_except
}

/// Whether kqueue and `poll` of the system refuse directories, terminals and other devices.
pub fn refuses_devices() -> bool {
    profile().refuses_devices
}

/// Whether this is a named pipe, which macOS shows by its device.
pub fn is_named_fifo(number: i32) -> bool {
    eyes::is_named_fifo(number)
}
