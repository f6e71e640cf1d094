//! Child processes of tasks.

use std::io::{ErrorKind, Read};
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
    wait_returns_the_exit_status_and_reaps,
    wait_can_be_cancelled_and_called_again,
    kill_ends_a_child_and_is_harmless_after_its_end,
    communicate_moves_more_than_the_pipes_hold,
    communicate_does_not_wait_for_a_grandchild_with_a_pipe,
    communicate_stops_a_child_that_writes_too_much,
    communicate_takes_a_child_that_does_not_read,
    writing_to_a_child_that_has_ended_is_a_broken_pipe,
    a_dropped_process_runs_on_and_is_reaped,
    kill_on_drop_kills_and_reaps,
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

fn wait_returns_the_exit_status_and_reaps(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = Process::spawn(&mut shell("exit 7")).unwrap();
    let pid = pid(&child);
    let status = event_loop.block_on(asyncio::timeout(SURELY, child.wait())).unwrap();
    assert_eq!(status.unwrap().unwrap().code(), Some(7));
    assert!(test_kill_process(pid).is_err());
    let again = event_loop.block_on(child.wait()).unwrap().unwrap();
    assert_eq!(again.code(), Some(7));
}

fn wait_can_be_cancelled_and_called_again(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = Process::spawn(shell("read line; exit 3").stdin(Stdio::piped())).unwrap();
    let stdin = child.stdin.take().unwrap();
    event_loop.block_on(asyncio::timeout(A_WHILE, child.wait())).unwrap().unwrap_err();
    event_loop.block_on(stdin.write_all(b"go\n")).unwrap().unwrap();
    let status = event_loop.block_on(asyncio::timeout(SURELY, child.wait())).unwrap();
    assert_eq!(status.unwrap().unwrap().code(), Some(3));
}

fn kill_ends_a_child_and_is_harmless_after_its_end(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = Process::spawn(Command::new("sleep").arg("1000")).unwrap();
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    let status = event_loop.block_on(asyncio::timeout(SURELY, child.wait())).unwrap();
    assert!(!status.unwrap().unwrap().success());
    child.kill().unwrap();
}

fn communicate_moves_more_than_the_pipes_hold(backend: Backend) {
    const LENGTH: usize = 1_000_000;

    let mut event_loop = open(backend, ());
    let mut command = shell("tee /dev/stderr");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = Process::spawn(&mut command).unwrap();
    let input = vec![b'x'; LENGTH];
    let output = child.communicate(&input, LENGTH);
    let output = event_loop.block_on(asyncio::timeout(SURELY, output)).unwrap().unwrap().unwrap();
    assert!(output.status.success());
    assert!(output.stdout == input && output.stderr == input);
}

fn communicate_does_not_wait_for_a_grandchild_with_a_pipe(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut command = shell("sleep 1000 & echo $!");
    let child = Process::spawn(command.stdout(Stdio::piped())).unwrap();
    let output = asyncio::timeout(SURELY, child.communicate("", 100));
    let output = event_loop.block_on(output).unwrap().expect("ends with the child").unwrap();
    let grandchild = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    let grandchild = Pid::from_raw(grandchild).unwrap();
    rustix::process::kill_process(grandchild, rustix::process::Signal::KILL).unwrap();
}

fn communicate_stops_a_child_that_writes_too_much(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut command = shell("yes");
    let child = Process::spawn(command.stdout(Stdio::piped())).unwrap();
    let pid = pid(&child);
    let output = asyncio::timeout(SURELY, child.communicate("", 10_000));
    let error = event_loop.block_on(output).unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    wait_until_reaped(pid);
}

fn communicate_takes_a_child_that_does_not_read(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut command = shell("echo done");
    let child = Process::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    let output = child.communicate(vec![b'x'; 1_000_000], 100);
    let output = event_loop.block_on(asyncio::timeout(SURELY, output)).unwrap().unwrap().unwrap();
    assert_eq!(output.stdout, b"done\n");
}

fn writing_to_a_child_that_has_ended_is_a_broken_pipe(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = Process::spawn(Command::new("true").stdin(Stdio::piped())).unwrap();
    let stdin = child.stdin.take().unwrap();
    event_loop.block_on(child.wait()).unwrap().unwrap();
    let error = event_loop.block_on(stdin.write_all(b"anybody?")).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

fn a_dropped_process_runs_on_and_is_reaped(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = Process::spawn(shell("read line; exit 0").stdin(Stdio::piped())).unwrap();
    let (pid, stdin) = (pid(&child), child.stdin.take().unwrap());
    drop(child);
    test_kill_process(pid).expect("runs on");
    event_loop.block_on(stdin.write_all(b"go\n")).unwrap().unwrap();
    wait_until_reaped(pid);
}

fn kill_on_drop_kills_and_reaps(backend: Backend) {
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
