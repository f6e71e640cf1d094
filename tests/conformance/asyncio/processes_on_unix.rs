//! Child processes of tasks on Unix: zombies, and what they need.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use polyselect::asyncio::{self, Process};
use polyselect::{Backend, Interest, Next, nonblocking};
use rustix::process::{Pid, test_kill_process};
// rustix has no `waitid` on OpenBSD.
#[cfg(not(target_os = "openbsd"))]
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::event_loop::open;
use crate::support::*;

cases! {
    wait_reaps,
    a_dropped_process_is_reaped,
    kill_on_drop_reaps,
    a_child_that_writes_too_much_is_reaped,
    #[cfg(not(target_os = "openbsd"))]
    another_child_of_the_program_is_not_touched,
    a_thread_waits_where_there_is_no_pidfd,
    #[cfg(not(target_os = "openbsd"))]
    many_processes_in_a_row_leave_nothing_behind,
    a_pipe_of_a_child_is_a_source_for_callbacks,
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script);
    command
}

fn pid(process: &Process) -> Pid {
    Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap()
}

/// Waits until the process is gone, including its zombie.
fn wait_until_reaped(pid: Pid) {
    let end = std::time::Instant::now() + SURELY;
    while test_kill_process(pid).is_ok() {
        assert!(std::time::Instant::now() < end, "{pid:?} is still there");
        std::thread::yield_now();
    }
}

fn wait_reaps(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = Process::spawn(&mut shell("exit 7")).unwrap();
    let pid = pid(&child);
    event_loop.block_on(asyncio::timeout(SURELY, child.wait())).unwrap().unwrap().unwrap();
    assert!(test_kill_process(pid).is_err());
}

fn a_dropped_process_is_reaped(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = Process::spawn(shell("read line; exit 0").stdin(Stdio::piped())).unwrap();
    let (pid, stdin) = (pid(&child), child.stdin.take().unwrap());
    drop(child);
    test_kill_process(pid).expect("runs on");
    event_loop.block_on(stdin.write_all(b"go\n")).unwrap().unwrap();
    wait_until_reaped(pid);
}

fn kill_on_drop_reaps(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = Process::spawn(Command::new("sleep").arg("1000")).unwrap();
    let pid = pid(&child);
    child.set_kill_on_drop(true);
    event_loop
        .block_on(asyncio::timeout(A_WHILE, async move { child.wait().await }))
        .unwrap()
        .unwrap_err();
    wait_until_reaped(pid);
}

fn a_child_that_writes_too_much_is_reaped(backend: Backend) {
    let mut event_loop = open(backend, ());
    let child = Process::spawn(shell("yes").stdout(Stdio::piped())).unwrap();
    let pid = pid(&child);
    let output = asyncio::timeout(SURELY, child.communicate("", 10_000));
    event_loop.block_on(output).unwrap().unwrap().unwrap_err();
    wait_until_reaped(pid);
}

#[cfg(not(target_os = "openbsd"))]
fn another_child_of_the_program_is_not_touched(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut other = Command::new("true").spawn().unwrap();
    let other_pid = Pid::from_raw(i32::try_from(other.id()).unwrap()).unwrap();
    waitid(WaitId::Pid(other_pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let mut child = Process::spawn(&mut Command::new("true")).unwrap();
    event_loop.block_on(child.wait()).unwrap().unwrap();
    assert!(other.wait().unwrap().success());
}

fn a_thread_waits_where_there_is_no_pidfd(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = Process::spawn(shell("read line; exit 5").stdin(Stdio::piped())).unwrap();
    let stdin = child.stdin.take().unwrap();
    // A pidfd needs a descriptor; the loop has its waker already.
    event_loop.block_on(asyncio::yield_now()).unwrap();
    let status = process::without_descriptors(|| {
        event_loop
            .block_on(async {
                let mut wait = std::pin::pin!(child.wait());
                let first = std::future::poll_fn(|context| {
                    std::task::Poll::Ready(wait.as_mut().poll(context).is_ready())
                });
                assert!(!first.await);
                stdin.write_all(b"go\n").await.unwrap();
                asyncio::timeout(SURELY, wait).await
            })
            .unwrap()
    });
    assert_eq!(status.unwrap().unwrap().code(), Some(5));
}

#[cfg(not(target_os = "openbsd"))]
fn many_processes_in_a_row_leave_nothing_behind(backend: Backend) {
    let mut event_loop = open(backend, ());
    for number in 0..1000 {
        let number = number % 100;
        let mut child = Process::spawn(&mut shell(&format!("exit {number}"))).unwrap();
        let status = event_loop.block_on(asyncio::timeout(SURELY, child.wait())).unwrap();
        assert_eq!(status.unwrap().unwrap().code(), Some(number));
    }
    // The harness compares the descriptors before and after.
    let any = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    assert!(any.is_err(), "a zombie is left: {any:?}");
}

fn a_pipe_of_a_child_is_a_source_for_callbacks(backend: Backend) {
    let mut event_loop = open(backend, Vec::new());
    let mut child = shell("echo hello").stdout(Stdio::piped()).spawn().unwrap();
    let stdout = nonblocking::<std::io::PipeReader>(child.stdout.take().unwrap()).unwrap();
    event_loop
        .register(stdout, Interest::READABLE, |event_loop, mut stdout, _event| {
            let mut buffer = [0; 64];
            let n = stdout.read(&mut buffer)?;
            event_loop.state.extend_from_slice(&buffer[..n]);
            Ok(if n == 0 { Next::Remove } else { Next::Keep })
        })
        .unwrap();
    event_loop.watch_child(child, |_loop, status| assert!(status.unwrap().success())).unwrap();
    event_loop.call_later(Duration::ZERO, |_loop| ());
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, b"hello\n");
}
