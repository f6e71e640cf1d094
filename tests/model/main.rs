//! The proof that all mechanisms mean the same: random programs of registering, changing, writing,
//! reading, closing, waiting, waking and rebuilding, run on each of them. After every wait what was
//! reported is compared with a plain description of the descriptors, and with `poll`.
//!
//! A program that fails is shrunk and kept in `regressions.txt`, which is run first the next time.
//!
//! ```text
//! cargo test --test model
//! POLYSELECT_MODEL_PROGRAMS=5000 cargo test --release --test model
//! ```

#![cfg(target_os = "linux")]

mod program;
mod random;
mod subject;

use polyselect::{Backend, Selector};
use random::check;

fn on(backend: Backend) {
    if !backend.is_available() {
        println!("skipped: this system does not have {backend}");
        return;
    }
    check(&format!("on {backend}"), || Selector::with_backend(backend));
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
