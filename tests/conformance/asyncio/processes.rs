//! Child processes of tasks.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::Stdio;

use polyselect::asyncio::{self, PipeReader, Process};
use polyselect::{Backend, EventLoop};

use crate::event_loop::open;
use crate::support::program::program;
use crate::support::*;

cases! {
    wait_returns_the_exit_status,
    wait_can_be_cancelled_and_called_again,
    kill_ends_a_child_and_is_harmless_after_its_end,
    communicate_moves_more_than_the_pipes_hold,
    communicate_in_virtual_time_waits_for_the_child in virtual time,
    communicate_does_not_wait_for_a_grandchild_with_a_pipe,
    communicate_stops_a_child_that_writes_too_much,
    communicate_takes_a_child_that_does_not_read,
    a_cancelled_read_loses_nothing,
    two_tasks_read_the_same_pipe,
    what_was_written_before_the_pipe_was_dropped_arrives,
    writing_to_a_child_that_has_ended_is_a_broken_pipe,
    dropping_a_pipe_that_is_read_ends_the_child_that_writes,
    a_dropped_process_runs_on,
    a_process_is_killed_on_drop_if_that_is_set,
}

/// Starts a part with piped input and output.
fn start(part: &str) -> Process {
    let mut command = program(part);
    Process::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap()
}

fn block_on<R>(event_loop: &mut EventLoop, future: impl Future<Output = R>) -> R {
    event_loop.block_on(asyncio::timeout(SURELY, future)).unwrap().expect("in time")
}

async fn read_line(stdout: &PipeReader) -> std::io::Result<String> {
    let (mut line, mut byte) = (String::new(), [0]);
    while stdout.read(&mut byte).await? == 1 && byte != *b"\n" {
        line.push(byte[0].into());
    }
    Ok(line)
}

fn wait_returns_the_exit_status(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = Process::spawn(&mut program("exit 7")).unwrap();
    let status = block_on(&mut event_loop, child.wait());
    assert_eq!(status.unwrap().code(), Some(7));
    let again = event_loop.block_on(child.wait()).unwrap().unwrap();
    assert_eq!(again.code(), Some(7));
}

fn wait_can_be_cancelled_and_called_again(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = start("answer went 3");
    let stdin = child.stdin.take().unwrap();
    event_loop.block_on(asyncio::timeout(A_WHILE, child.wait())).unwrap().unwrap_err();
    event_loop.block_on(stdin.write_all(b"go\n")).unwrap().unwrap();
    let status = block_on(&mut event_loop, child.wait());
    assert_eq!(status.unwrap().code(), Some(3));
}

fn kill_ends_a_child_and_is_harmless_after_its_end(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = Process::spawn(&mut program("sleep")).unwrap();
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    let status = block_on(&mut event_loop, child.wait());
    assert!(!status.unwrap().success());
    child.kill().unwrap();
}

fn moves_more_than_the_pipes_hold(event_loop: &mut EventLoop) {
    const LENGTH: usize = 1_000_000;

    let mut command = program("copy");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = Process::spawn(&mut command).unwrap();
    let input: Vec<u8> = (0..LENGTH).map(|place| (place % 251) as u8).collect();
    let output = block_on(event_loop, child.communicate(&input, LENGTH)).unwrap();
    assert!(output.status.success());
    assert!(output.stdout == input && output.stderr == input);
}

fn communicate_moves_more_than_the_pipes_hold(backend: Backend) {
    moves_more_than_the_pipes_hold(&mut open(backend, ()));
}

fn communicate_in_virtual_time_waits_for_the_child(backend: Backend) {
    moves_more_than_the_pipes_hold(&mut open(backend, ()));
}

fn communicate_does_not_wait_for_a_grandchild_with_a_pipe(backend: Backend) {
    let mut event_loop = open(backend, ());
    // The grandchild ends when this case ends.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let child = start(&format!("parent {port}"));
    let output = block_on(&mut event_loop, child.communicate("", 100)).unwrap();
    assert_eq!(output.stdout, b"done\n");
}

fn communicate_stops_a_child_that_writes_too_much(backend: Backend) {
    let mut event_loop = open(backend, ());
    let child = start("flood");
    let error = block_on(&mut event_loop, child.communicate("", 10_000)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
}

fn communicate_takes_a_child_that_does_not_read(backend: Backend) {
    let mut event_loop = open(backend, ());
    let output = start("print done").communicate(vec![b'x'; 1_000_000], 100);
    assert_eq!(block_on(&mut event_loop, output).unwrap().stdout, b"done\n");
}

fn a_cancelled_read_loses_nothing(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = start("answer went 0");
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut bytes = [0; 10];
    let in_vain = stdout.read(&mut bytes);
    event_loop.block_on(asyncio::timeout(A_WHILE, in_vain)).unwrap().unwrap_err();
    assert_eq!(stdout.try_read(&mut bytes).unwrap_err().kind(), ErrorKind::WouldBlock);
    event_loop.block_on(stdin.write_all(b"go\n")).unwrap().unwrap();
    assert_eq!(block_on(&mut event_loop, read_line(&stdout)).unwrap(), "went");
    assert_eq!(block_on(&mut event_loop, stdout.read(&mut bytes)).unwrap(), 0);
    assert_eq!(stdout.try_read(&mut bytes).unwrap(), 0, "the end is permanent");
    assert!(block_on(&mut event_loop, child.wait()).unwrap().success());
}

fn two_tasks_read_the_same_pipe(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = start("answer two 0");
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let stdout = std::rc::Rc::new(stdout);
    let read = |stdout: std::rc::Rc<PipeReader>| async move {
        let mut byte = [0];
        stdout.read_exact(&mut byte).await.map(|()| byte[0])
    };
    let tasks = [event_loop.spawn(read(stdout.clone())), event_loop.spawn(read(stdout.clone()))];
    let found = block_on(&mut event_loop, async {
        asyncio::sleep(A_WHILE).await;
        stdin.write_all(b"go\n").await.unwrap();
        let mut found = Vec::new();
        for task in tasks {
            found.push(task.await.unwrap().unwrap());
        }
        found.sort_unstable();
        found
    });
    assert_eq!(found, b"tw");
}

fn what_was_written_before_the_pipe_was_dropped_arrives(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = start("count");
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut written = 0;
    // Until it is full, or for long enough.
    while written < 1_000_000 {
        match stdin.try_write(&[b'x'; 100_000]) {
            Ok(n) => written += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    drop(stdin);
    let count = block_on(&mut event_loop, read_line(&stdout)).unwrap();
    assert_eq!(count, written.to_string());
}

fn writing_to_a_child_that_has_ended_is_a_broken_pipe(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = start("exit 0");
    let stdin = child.stdin.take().unwrap();
    block_on(&mut event_loop, child.wait()).unwrap();
    let error = event_loop.block_on(stdin.write_all(b"anybody?")).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

fn dropping_a_pipe_that_is_read_ends_the_child_that_writes(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut command = program("flood after a line");
    let mut child = Process::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let in_vain = async move { stdout.read(&mut [0]).await };
    event_loop.block_on(asyncio::timeout(A_WHILE, in_vain)).unwrap().unwrap_err();
    event_loop.block_on(stdin.write_all(b"go\n")).unwrap().unwrap();
    let status = block_on(&mut event_loop, child.wait()).unwrap();
    assert!(!status.success());
}

fn a_dropped_process_runs_on(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = start("answer went 0");
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    drop(child);
    event_loop.block_on(stdin.write_all(b"go\n")).unwrap().unwrap();
    assert_eq!(block_on(&mut event_loop, read_line(&stdout)).unwrap(), "went");
}

fn a_process_is_killed_on_drop_if_that_is_set(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut child = start("answer went 0");
    let (_stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    child.set_kill_on_drop(true);
    event_loop
        .block_on(asyncio::timeout(A_WHILE, async move { child.wait().await }))
        .unwrap()
        .unwrap_err();
    assert_eq!(block_on(&mut event_loop, read_line(&stdout)).unwrap(), "");
}
