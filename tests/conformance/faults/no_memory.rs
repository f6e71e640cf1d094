//! A kernel without memory: system calls of the crate fail, and nothing is lost.
//!
//! A filter answers the calls of one thread in place of the kernel.

use std::io::{self, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use polyselect::{Backend, Events, Ready, Selector};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::support::harness::CASE;
use crate::support::process::has_kernel_object;
use crate::support::*;

cases! {
    opening_a_selector_without_memory_is_an_error,
    the_first_waker_without_memory_is_an_error,
    a_source_that_cannot_be_registered_is_given_back,
    a_wait_that_fails_loses_nothing,
}

/// Makes these calls of this thread fail for lack of memory from now on.
pub fn refuse(calls: &[i64]) {
    if is_simulated() && calls != OPENING {
        return simulated_kernel::refuse(true);
    }
    let calls = calls.iter().map(|&call| (call, Vec::new())).collect();
    let this = std::env::consts::ARCH.try_into().expect("an architecture that seccompiler knows");
    let no_memory = SeccompAction::Errno(libc::ENOMEM as u32);
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, no_memory, this).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    apply_filter(&program).unwrap();
}

const OPENING: &[i64] =
    &[libc::SYS_epoll_create1, libc::SYS_io_uring_setup, libc::SYS_eventfd2, libc::SYS_pipe2];

pub const CHANGING: &[i64] = &[libc::SYS_epoll_ctl, libc::SYS_io_uring_enter];

pub const WAITING: &[i64] = &[
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_io_uring_enter,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
];

/// Whether this case runs on the simulated kqueue, which is in this process, where no filter
/// applies.
fn is_simulated() -> bool {
    cfg!(kqueue_sim) && std::env::var(CASE).is_ok_and(|case| case.starts_with("kqueue::"))
}

mod simulated_kernel {
    #[cfg(kqueue_sim)]
    #[allow(unsafe_code)] // The simulation's own function.
    pub fn refuse(refuse: bool) {
        unsafe extern "C" {
            safe fn kqueue_sim_fail(nth: u32, error: i32, in_a_change: bool) -> bool;
        }
        kqueue_sim_fail(if refuse { u32::MAX } else { 0 }, libc::ENOMEM, false);
    }
    #[cfg(not(kqueue_sim))]
    pub fn refuse(_: bool) {}
}

#[track_caller]
fn expect_no_memory(error: &io::Error) {
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "{error}");
}

fn opening_a_selector_without_memory_is_an_error(backend: Backend) {
    let has_kernel_object = has_kernel_object(backend);
    refuse(OPENING);
    match Selector::<TcpStream>::with_backend(backend) {
        Ok(_) => assert!(!has_kernel_object),
        Err(error) => {
            assert!(has_kernel_object);
            expect_no_memory(&error);
        }
    }
}

fn the_first_waker_without_memory_is_an_error(backend: Backend) {
    let (left, _right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, W, ()).unwrap();
    refuse(OPENING);
    expect_no_memory(&selector.waker().unwrap_err());
    assert_eq!(expect_one(&mut selector, key), Ready::WRITABLE);
}

fn a_source_that_cannot_be_registered_is_given_back(backend: Backend) {
    let ((left, _right), (other, other_peer)) = (pair(), pair());
    let mut selector = open(backend);
    let key = selector.register(left, W, "data").unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::WRITABLE);
    refuse(CHANGING);
    match selector.register(other, R, "other") {
        // The change is sent to the kernel by the next wait.
        Ok(other) => assert!(selector.contains(other)),
        Err(error) => {
            expect_no_memory(error.error());
            let (_, other, data) = error.into_parts();
            assert_eq!(data, "other");
            assert_eq!(other.peer_addr().unwrap(), other_peer.local_addr().unwrap());
            assert_eq!(selector.len(), 1);
            simulated_kernel::refuse(false);
            if backend != Backend::IoUring {
                assert_eq!(expect_one(&mut selector, key), Ready::WRITABLE);
            }
        }
    }
}

fn a_wait_that_fails_loses_nothing(backend: Backend) {
    let ((left, mut right), (other, _other_peer)) = (pair(), pair());
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    let other = selector.register(other, W.oneshot(), ()).unwrap();
    right.write_all(b"!").unwrap();
    wait_for_data(selector[key].source());
    thread::scope(|scope| {
        scope.spawn(|| {
            refuse(WAITING);
            let mut events = Events::with_capacity(8);
            for timeout in [Some(Duration::ZERO), Some(A_WHILE), None] {
                match selector.select(&mut events, timeout) {
                    Ok(_) => panic!("{events:?} of a kernel without memory"),
                    Err(error) => expect_no_memory(&error),
                }
                assert!(events.is_empty());
            }
        });
    });
    simulated_kernel::refuse(false);
    let mut events = look(&mut selector);
    while events.len() < 2 {
        events.extend(look(&mut selector));
    }
    let ready = |key| events.iter().find(|event| event.key == key).unwrap().ready;
    assert_eq!((ready(key), ready(other)), (Ready::READABLE, Ready::WRITABLE));
}
