//! Checks that all backends behave the same: random programs of registering, changing, writing,
//! reading, closing, waiting, waking and rebuilding, run on each of them. After every wait the
//! reported events are compared with a plain model of the descriptors, and with `poll`.
//!
//! A program may also fork, move to another thread, and meet failing system calls; each is a
//! dimension that can be enabled on its own; see `dimensions.rs`.
//!
//! A program that fails is shrunk and kept in `regressions.txt`, which is run first the next time.
//!
//! ```text
//! cargo test --test model
//! POLYSELECT_MODEL_SECONDS=600 cargo test --release --test model
//! POLYSELECT_MODEL_PROGRAMS=5000 cargo test --release --test model
//! POLYSELECT_MODEL_DIMENSIONS=faults,threads cargo test --test model -- io_uring
//! ```

#![cfg(any(target_os = "linux", windows))]

#[path = "mod.rs"]
mod model;
mod random;

use polyselect::{Backend, Selector};
use random::check;
#[cfg(unix)]
use random::{check_calls, check_with_faults};

fn on(backend: Backend) {
    if is_missing(backend) {
        return;
    }
    check(&format!("on {backend}"), || Selector::with_backend(backend));
}

#[cfg(unix)]
fn with_faults_on(backend: Backend) {
    if is_missing(backend) {
        return;
    }
    check_with_faults(&format!("with faults on {backend}"), || Selector::with_backend(backend));
}

fn is_missing(backend: Backend) -> bool {
    let is_missing = !backend.is_available();
    if is_missing {
        println!("skipped: this system does not have {backend}");
    }
    is_missing
}

#[test]
fn afd() {
    on(Backend::Afd);
}

#[test]
fn epoll() {
    on(Backend::Epoll);
}

#[test]
fn io_uring() {
    on(Backend::IoUring);
}

#[test]
fn kqueue() {
    on(Backend::Kqueue);
}

#[test]
fn mio() {
    on(Backend::Mio);
}

#[test]
fn poll() {
    on(Backend::Poll);
}

#[test]
fn select() {
    on(Backend::Select);
}

#[test]
fn event_port() {
    on(Backend::EventPort);
}

#[cfg(unix)]
#[test]
fn epoll_while_system_calls_fail() {
    with_faults_on(Backend::Epoll);
}

#[cfg(unix)]
#[test]
fn io_uring_while_system_calls_fail() {
    with_faults_on(Backend::IoUring);
}

#[cfg(unix)]
#[test]
fn mio_while_system_calls_fail() {
    with_faults_on(Backend::Mio);
}

#[cfg(unix)]
#[test]
fn poll_while_system_calls_fail() {
    with_faults_on(Backend::Poll);
}

#[cfg(unix)]
#[test]
fn select_while_system_calls_fail() {
    with_faults_on(Backend::Select);
}

/// Not in parallel with other tests that use kqueue: the faults are the process's.
#[cfg(kqueue_sim)]
#[test]
fn random_programs_while_kevent_fails() {
    check("while kevent fails", || Selector::with_backend(Backend::Kqueue));
}

#[cfg(unix)]
#[test]
fn the_injector_knows_every_system_call_of_each_backend() {
    for backend in Backend::available() {
        check_calls(&format!("calls of {backend}"), || Selector::with_backend(backend));
    }
}
