//! Child processes.

use std::process::{Child, Command};

use polyselect::{Backend, EventLoop};
use rustix::process::{WaitOptions, wait};

use super::{kill_and_take_back, open};
use crate::support::*;

cases! {
    two_hundred_children_leave_neither_zombie_nor_descriptor,
    children_that_are_not_watched_are_not_reaped,
    a_child_that_ended_before_it_was_watched_is_reported,
    a_child_that_was_reaped_elsewhere_is_an_error,
    a_child_can_be_killed_and_taken_back,
    removing_all_sources_leaves_the_children,
    #[cfg(target_os = "linux")]
    with_pidfd_no_handler_of_sigchld_is_installed,
    #[cfg(target_os = "linux")]
    without_pidfd_a_handler_of_sigchld_is_installed,
    #[cfg(target_os = "linux")]
    without_pidfd_a_child_that_has_ended_is_noticed,
    #[cfg(target_os = "linux")]
    without_pidfd_a_panic_of_one_child_leaves_the_others,
}

fn child(command: &str) -> Child {
    Command::new("sh").args(["-c", command]).spawn().expect("starts")
}

/// Checks that no child is left, neither running nor as a zombie.
fn expect_no_children() {
    assert_eq!(wait(WaitOptions::NOHANG).unwrap_err(), rustix::io::Errno::CHILD);
}

fn two_hundred_children_leave_neither_zombie_nor_descriptor(backend: Backend) {
    let mut event_loop = open(backend, 0);
    for number in 0..200 {
        let code = number % 7;
        let ended = move |event_loop: &mut EventLoop<i32>, status: std::io::Result<_>| {
            let status: std::process::ExitStatus = status.unwrap();
            assert_eq!(status.code(), Some(code));
            event_loop.state += 1;
        };
        event_loop.watch_child(child(&format!("exit {code}")), ended).unwrap();
    }
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 200);
    expect_no_children();
    // The harness checks the descriptors after every case.
}

fn children_that_are_not_watched_are_not_reaped(backend: Backend) {
    let mut own = child("exit 5");
    let mut event_loop = open(backend, 0);
    for _ in 0..20 {
        let count = |event_loop: &mut EventLoop<i32>, _| event_loop.state += 1;
        event_loop.watch_child(child("exit 0"), count).unwrap();
    }
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 20);
    assert_eq!(own.wait().expect("is still ours").code(), Some(5));
    expect_no_children();
}

fn a_child_that_ended_before_it_was_watched_is_reported(backend: Backend) {
    let mut over = child("exit 4");
    let status = over.wait().unwrap();
    let mut event_loop = open(backend, None);
    event_loop.watch_child(over, |event_loop, status| event_loop.state = status.ok()).unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, Some(status));
}

fn a_child_that_was_reaped_elsewhere_is_an_error(backend: Backend) {
    let mut event_loop = open(backend, None);
    let stolen = child("exit 0");
    event_loop.watch_child(stolen, |event_loop, status| event_loop.state = Some(status)).unwrap();
    assert!(wait(WaitOptions::empty()).unwrap().is_some());
    event_loop.run().unwrap();
    let error = event_loop.state.expect("was called").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::CHILD.raw_os_error()));
}

fn a_child_can_be_killed_and_taken_back(backend: Backend) {
    kill_and_take_back(backend, child("exec sleep 1000"), child("exit 0"));
}

fn removing_all_sources_leaves_the_children(backend: Backend) {
    let mut event_loop = open(backend, 0);
    let (left, _right) = pair();
    event_loop.register(left, polyselect::Interest::WRITABLE, |_, _, _| unreachable!()).unwrap();
    event_loop.watch_child(child("exit 0"), |event_loop, _| event_loop.state += 1).unwrap();
    assert_eq!(event_loop.len(), 1);
    event_loop.clear().unwrap();
    event_loop.run().unwrap();
    assert_eq!((event_loop.state, event_loop.len()), (1, 0));
}

#[cfg(target_os = "linux")]
fn forbid_pidfd() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

    let forbidden = [(libc::SYS_pidfd_open, Vec::new())].into();
    let refuse = SeccompAction::Errno(38);
    let this = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(forbidden, SeccompAction::Allow, refuse, this).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    apply_filter(&program).unwrap();
}

#[cfg(target_os = "linux")]
fn with_pidfd_no_handler_of_sigchld_is_installed(backend: Backend) {
    let mut event_loop = open(backend, None);
    let ended = |event_loop: &mut EventLoop<_>, status| event_loop.state = Some(status);
    event_loop.watch_child(child("exit 3"), ended).unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let handled = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    let handled = u64::from_str_radix(handled.trim(), 16).unwrap();
    assert_eq!(handled & 1 << (libc::SIGCHLD - 1), 0);
    event_loop.run().unwrap();
    let status: std::process::ExitStatus = event_loop.state.take().unwrap().unwrap();
    assert_eq!(status.code(), Some(3));
}

#[cfg(target_os = "linux")]
fn without_pidfd_a_handler_of_sigchld_is_installed(backend: Backend) {
    forbid_pidfd();
    let mut event_loop = open(backend, 0);
    let count = |event_loop: &mut EventLoop<i32>, status: std::io::Result<_>| {
        let status: std::process::ExitStatus = status.unwrap();
        assert!(status.success());
        event_loop.state += 1;
    };
    for _ in 0..50 {
        event_loop.watch_child(child("exit 0"), count).unwrap();
    }
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 50);
    assert_eq!(event_loop.stats().pending_calls, 0);
    expect_no_children();
}

/// Its signal arrived when no handler was registered.
#[cfg(target_os = "linux")]
fn without_pidfd_a_child_that_has_ended_is_noticed(backend: Backend) {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    forbid_pidfd();
    let over = child("exit 3");
    // Waits for its end, and leaves it to be reaped.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(Pid::from_child(&over)), options).unwrap();
    let mut event_loop = open(backend, None);
    event_loop.watch_child(over, |event_loop, status| event_loop.state = status.ok()).unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state.and_then(|status| status.code()), Some(3));
}

#[cfg(target_os = "linux")]
fn without_pidfd_a_panic_of_one_child_leaves_the_others(backend: Backend) {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    forbid_pidfd();
    let mut event_loop = open(backend, 0);
    let mut inputs = Vec::new();
    for number in 0..5 {
        let mut child = Command::new("sh")
            .args(["-c", "read line"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        inputs.push((Pid::from_child(&child), child.stdin.take().unwrap()));
        let ended = move |event_loop: &mut EventLoop<i32>, _| {
            event_loop.state += 1;
            if number != 2 {
                resume_unwind(Box::new("on purpose"));
            }
        };
        event_loop.watch_child(child, ended).unwrap();
    }
    // Children that had ended before they were watched would be found in the first iteration.
    event_loop.turn(std::time::Duration::ZERO).unwrap();
    for (id, input) in inputs {
        drop(input);
        // All signals arrive before the loop runs, so one iteration handles them.
        waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    }
    let mut panics = 0;
    while event_loop.state < 5 {
        let before = event_loop.state;
        let turn = catch_unwind(AssertUnwindSafe(|| event_loop.turn(SURELY / 4)));
        match turn {
            Ok(turn) => assert!(turn.is_ok()),
            Err(_) => panics += 1,
        }
        assert!(event_loop.state > before, "after {panics} panics the others are not called");
    }
    assert_eq!(panics, 4);
    event_loop.run().unwrap();
    expect_no_children();
}
