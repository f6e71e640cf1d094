//! Signals in tasks.

use std::io::ErrorKind;
#[cfg(target_os = "linux")]
use std::process::Command;

#[cfg(target_os = "linux")]
use polyselect::EventLoop;
use polyselect::signal::{SIGKILL, SIGUSR1, SIGUSR2};
use polyselect::{Backend, asyncio};
use rustix::process::{Signal, getpid, kill_process};

use crate::event_loop::open;
#[cfg(target_os = "linux")]
use crate::support::process::fork;
use crate::support::*;

cases! {
    a_signal_wakes_the_task_that_waits_for_it,
    arrivals_before_the_wait_coalesce,
    several_streams_and_a_callback_see_the_same_signal,
    an_arrival_is_not_lost_when_waiting_is_cancelled,
    a_signal_that_cannot_be_handled_is_an_error,
    a_dropped_stream_leaves_no_handler_that_writes,
    #[cfg(target_os = "linux")]
    each_arrival_names_its_sender,
    #[cfg(target_os = "linux")]
    a_child_that_ends_names_itself_and_its_status,
    #[cfg(target_os = "linux")]
    arrivals_without_room_are_counted,
    #[cfg(target_os = "linux")]
    a_signal_of_a_forked_child_is_no_arrival_of_the_parent,
}

fn raise(signal: Signal) {
    kill_process(getpid(), signal).unwrap();
}

fn a_signal_wakes_the_task_that_waits_for_it(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut signals = asyncio::signal(SIGUSR1).unwrap();
    event_loop.call_later(A_WHILE, |_loop| raise(Signal::USR1));
    event_loop.block_on(asyncio::timeout(SURELY, signals.recv())).unwrap().unwrap().unwrap();
}

fn arrivals_before_the_wait_coalesce(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut signals = asyncio::signal(SIGUSR1).unwrap();
    raise(Signal::USR1);
    raise(Signal::USR1);
    event_loop.block_on(signals.recv()).unwrap().unwrap();
    event_loop.block_on(asyncio::timeout(A_WHILE, signals.recv())).unwrap().unwrap_err();
    raise(Signal::USR1);
    event_loop.block_on(signals.recv()).unwrap().unwrap();
}

fn several_streams_and_a_callback_see_the_same_signal(backend: Backend) {
    let mut event_loop = open(backend, 0);
    event_loop.on_signal(SIGUSR1, |event_loop| event_loop.state += 1).unwrap();
    let mut streams = [SIGUSR1, SIGUSR1, SIGUSR2].map(|it| asyncio::signal(it).unwrap());
    raise(Signal::USR1);
    event_loop.turn(SURELY).unwrap();
    for stream in &mut streams[..2] {
        event_loop.block_on(asyncio::timeout(SURELY, stream.recv())).unwrap().unwrap().unwrap();
    }
    event_loop.block_on(asyncio::timeout(A_WHILE, streams[2].recv())).unwrap().unwrap_err();
    assert_eq!(event_loop.state, 1);
}

fn an_arrival_is_not_lost_when_waiting_is_cancelled(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut signals = asyncio::signal(SIGUSR1).unwrap();
    event_loop.block_on(asyncio::timeout(A_WHILE, signals.recv())).unwrap().unwrap_err();
    raise(Signal::USR1);
    event_loop.block_on(asyncio::timeout(SURELY, signals.recv())).unwrap().unwrap().unwrap();
}

fn a_signal_that_cannot_be_handled_is_an_error(_backend: Backend) {
    let error = asyncio::signal(SIGKILL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("signal 9"), "{error}");
}

fn a_dropped_stream_leaves_no_handler_that_writes(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut kept = asyncio::signal(SIGUSR1).unwrap();
    drop(asyncio::signal(SIGUSR1).unwrap());
    raise(Signal::USR1);
    event_loop.block_on(asyncio::timeout(SURELY, kept.recv())).unwrap().unwrap().unwrap();
}

#[cfg(target_os = "linux")]
fn next(event_loop: &mut EventLoop, infos: &mut asyncio::SignalInfos) -> asyncio::SignalInfo {
    event_loop.block_on(asyncio::timeout(SURELY, infos.recv())).unwrap().unwrap().unwrap()
}

#[cfg(target_os = "linux")]
fn expect_none(event_loop: &mut EventLoop, infos: &mut asyncio::SignalInfos) {
    event_loop.block_on(asyncio::timeout(A_WHILE, infos.recv())).unwrap().unwrap_err();
}

#[cfg(target_os = "linux")]
fn each_arrival_names_its_sender(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut infos = asyncio::signal_info(SIGUSR1).unwrap();
    let kill = format!("kill -USR1 {}", std::process::id());
    let mut other = Command::new("sh").args(["-c", &kill]).spawn().unwrap();
    let senders = [other.id(), std::process::id()];
    other.wait().unwrap();
    raise(Signal::USR1);
    for sender in senders {
        let info = next(&mut event_loop, &mut infos);
        assert_eq!(info.pid(), Some(sender));
        assert_eq!(info.uid(), Some(rustix::process::getuid().as_raw()));
        assert_eq!((info.code(), info.status(), info.value()), (libc::SI_USER, None, None));
    }
    expect_none(&mut event_loop, &mut infos);
}

#[cfg(target_os = "linux")]
fn a_child_that_ends_names_itself_and_its_status(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut infos = asyncio::signal_info(polyselect::signal::SIGCHLD).unwrap();
    let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
    let info = next(&mut event_loop, &mut infos);
    assert_eq!(info.pid(), Some(child.id()));
    assert_eq!((info.code(), info.status()), (libc::CLD_EXITED, Some(3)));
    child.wait().unwrap();
}

#[cfg(target_os = "linux")]
fn arrivals_without_room_are_counted(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut infos = asyncio::signal_info(SIGUSR1).unwrap();
    let mut sent = 0;
    while infos.missed() < 3 {
        raise(Signal::USR1);
        sent += 1;
    }
    assert!(sent >= 256 + 3, "{sent} signals filled the pipe");
    for _ in 0..sent - 3 {
        event_loop.block_on(infos.recv()).unwrap().unwrap();
    }
    expect_none(&mut event_loop, &mut infos);
    raise(Signal::USR1);
    next(&mut event_loop, &mut infos);
}

#[cfg(target_os = "linux")]
fn a_signal_of_a_forked_child_is_no_arrival_of_the_parent(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut infos = asyncio::signal_info(SIGUSR1).unwrap();
    fork(|| raise(Signal::USR1)).join();
    expect_none(&mut event_loop, &mut infos);
    assert_eq!(infos.missed(), 0);
    raise(Signal::USR1);
    assert_eq!(next(&mut event_loop, &mut infos).pid(), Some(std::process::id()));
}
