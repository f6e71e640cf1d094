//! Inside a sandbox: a backend whose system calls are forbidden or unknown is unavailable and
//! reports why, and no system call that the sandbox does not know ends the process.
//!
//! A filter applies to the thread that installs it, so each test has its own.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use polyselect::{Backend, Events, Interest, Selector};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// Makes these calls of this thread return these errors from now on.
fn forbid(calls: &[i64], end: SeccompAction) {
    let calls: BTreeMap<_, _> = calls.iter().map(|&call| (call, Vec::new())).collect();
    let this = std::env::consts::ARCH.try_into().expect("an architecture that seccompiler knows");
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, end, this).expect("is a filter");
    let program: BpfProgram = filter.try_into().expect("compiles");
    apply_filter(&program).expect("is applied");
}

/// One event and one exact timeout.
fn works(mut selector: Selector<io::PipeReader>) {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    selector.register(reader, Interest::READABLE, ()).expect("is registered");
    let mut events = Events::with_capacity(4);
    let timeout = Duration::from_micros(700);
    let start = Instant::now();
    assert_eq!(selector.select(&mut events, timeout).expect("waits"), 0);
    assert!(start.elapsed() >= timeout);
    writer.write_all(b"x").expect("is written");
    assert_eq!(selector.select(&mut events, None).expect("waits"), 1);
}

#[cfg(feature = "io-uring")]
fn io_uring_is_refused(error: i32, reason: &str) {
    forbid(&[libc::SYS_io_uring_setup], SeccompAction::Errno(error as u32));
    assert!(!Backend::IoUring.is_available());
    assert!(Backend::available().all(|backend| backend != Backend::IoUring));
    let error = Selector::<io::PipeReader>::with_backend(Backend::IoUring).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    let message = error.to_string();
    assert!(message.contains(reason), "{message}");
    assert!(!message.contains("feature"), "{message}");
    assert!(message.contains("available are: epoll"), "{message}");
    works(Selector::new().expect("there are others"));
}

#[cfg(feature = "io-uring")]
#[test]
fn a_sandbox_that_forbids_io_uring_is_told_apart_from_a_kernel_that_lacks_it() {
    io_uring_is_refused(libc::EPERM, "the kernel forbids it: ");
}

#[cfg(feature = "io-uring")]
#[test]
fn a_kernel_that_lacks_io_uring_is_told_apart_from_a_sandbox_that_forbids_it() {
    io_uring_is_refused(libc::ENOSYS, "the kernel lacks it: ");
}

/// The error's text if the crate was built without a feature.
#[allow(dead_code)] // Not needed with all features.
fn is_not_compiled_in(backend: Backend, feature: &str) {
    assert!(!backend.is_available());
    let error = Selector::<io::PipeReader>::with_backend(backend).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    let message = error.to_string();
    let reason = format!("it was not compiled in: it needs the cargo feature `{feature}`");
    assert!(message.contains(&reason), "{message}");
}

#[cfg(not(feature = "io-uring"))]
#[test]
fn io_uring_says_which_feature_it_needs() {
    is_not_compiled_in(Backend::IoUring, "io-uring");
}

#[cfg(not(feature = "mio"))]
#[test]
fn mio_says_which_feature_it_needs() {
    is_not_compiled_in(Backend::Mio, "mio");
}

/// `epoll_pwait2` would give timeouts below a millisecond, but sandboxes that are older than it
/// kill the calling process.
#[test]
fn timeouts_are_exact_in_a_sandbox_that_kills_who_calls_what_is_new() {
    forbid(&[libc::SYS_epoll_pwait2], SeccompAction::KillProcess);
    for backend in Backend::available() {
        works(Selector::with_backend(backend).expect("is available"));
    }
}
