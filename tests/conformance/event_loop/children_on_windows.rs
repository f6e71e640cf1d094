//! Child processes on Windows.

use std::process::{Child, Command, ExitStatus, Stdio};

use polyselect::{Backend, EventLoop};

use super::{kill_and_take_back, open};
use crate::support::*;

cases! {
    children_that_end_are_reported,
    a_child_that_ended_before_it_was_watched_is_reported,
    a_child_can_be_killed_and_taken_back,
    children_are_reported_after_a_change_of_the_backend,
    a_loop_that_is_dropped_leaves_its_children_alone,
}

fn child(command: &str) -> Child {
    Command::new("cmd").args(["/c", command]).spawn().expect("starts")
}

/// A child that runs until it gets a line or is killed.
fn waiting_child() -> Child {
    let mut command = Command::new("cmd");
    command.args(["/c", "set /p line="]).stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn().expect("starts")
}

fn count(event_loop: &mut EventLoop<usize>, status: std::io::Result<ExitStatus>) {
    assert!(status.unwrap().success());
    event_loop.state += 1;
}

fn children_that_end_are_reported(backend: Backend) {
    const CHILDREN: i32 = 12;

    let mut event_loop = open(backend, 0);
    for code in 0..CHILDREN {
        let ended = move |event_loop: &mut EventLoop<i32>, status: std::io::Result<ExitStatus>| {
            assert_eq!(status.unwrap().code(), Some(code));
            event_loop.state += 1;
        };
        event_loop.watch_child(child(&format!("exit {code}")), ended).unwrap();
    }
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, CHILDREN);
}

fn a_child_that_ended_before_it_was_watched_is_reported(backend: Backend) {
    let mut over = child("exit 0");
    over.wait().unwrap();
    let mut event_loop = open(backend, 0);
    event_loop.watch_child(over, count).unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 1);
}

fn a_child_can_be_killed_and_taken_back(backend: Backend) {
    kill_and_take_back(backend, waiting_child(), child("exit 0"));
}

fn children_are_reported_after_a_change_of_the_backend(backend: Backend) {
    for other in [Backend::Poll, Backend::Afd, Backend::Select] {
        if !other.is_available() {
            continue;
        }
        let mut event_loop = open(backend, 0);
        let key = event_loop.watch_child(waiting_child(), count).unwrap();
        event_loop.rebuild_with(other).unwrap();
        // The end of its input is a line, too.
        drop(event_loop.child_mut(key).expect("runs").stdin().take());
        event_loop.run().unwrap();
        assert_eq!(event_loop.state, 1);
    }
}

fn a_loop_that_is_dropped_leaves_its_children_alone(backend: Backend) {
    let mut event_loop = open(backend, 0);
    let key = event_loop.watch_child(waiting_child(), count).unwrap();
    event_loop.turn(A_WHILE).unwrap();
    assert!(event_loop.child_mut(key).is_some());
    let input = event_loop.child_mut(key).expect("runs").stdin().take();
    drop(event_loop);
    drop(input);
}
