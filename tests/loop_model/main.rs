//! Checks the guarantees of callbacks, timers, calls, signals, children, tasks, streams and
//! servers: random programs on each backend, whose callbacks, tasks, wakers and destructors perform
//! further steps of the program. After every iteration the effects are compared with a plain model.
//!
//! A program that fails is shrunk and kept in `regressions.txt`, which is run first the next time.
//!
//! ```text
//! cargo test --all-features --test loop_model
//! POLYSELECT_MODEL_SECONDS=600 cargo test --release --all-features --test loop_model
//! POLYSELECT_MODEL_PROGRAMS=5000 cargo test --release --all-features --test loop_model -- epoll
//! ```

#![cfg(any(target_os = "linux", windows))]

#[path = "mod.rs"]
mod loop_model;
#[cfg(target_os = "linux")]
#[path = "../support/own_descriptors.rs"]
#[allow(dead_code)] // Other tests use the rest of it.
mod own_descriptors;
mod random;

use polyselect::Backend;
use random::check;

#[test]
fn afd() {
    check(Backend::Afd);
}

#[test]
fn epoll() {
    check(Backend::Epoll);
}

#[test]
fn io_uring() {
    check(Backend::IoUring);
}

#[test]
fn mio() {
    check(Backend::Mio);
}

#[test]
fn poll() {
    check(Backend::Poll);
}

#[test]
fn select() {
    check(Backend::Select);
}

#[cfg(target_os = "linux")]
#[test]
fn poll_where_children_have_no_descriptor() {
    random::check_without_pidfd(Backend::Poll);
}
