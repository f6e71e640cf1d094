use std::fs::File;
use std::io::{self, Seek, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use libtest_mimic::{Failed, Trial};
use polyselect::Backend;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::subject::{Subject, connect};
use crate::support::{SURELY, Server};

static SUBJECT: Subject = Subject { example: "select_stdin_server", answer: <[u8]>::to_vec };

pub fn trials() -> Vec<Trial> {
    let mut trials = SUBJECT.trials(Backend::available());
    for (name, story) in [
        ("a_line_stops_it", a_line_stops_it as fn(Backend) -> _),
        ("a_line_without_an_end_stops_it", a_line_without_an_end_stops_it),
        ("a_file_is_read_like_a_keyboard", a_file_is_read_like_a_keyboard),
        ("the_end_of_the_input_does_not_stop_it", the_end_of_the_input_does_not_stop_it),
    ] {
        trials.extend(SUBJECT.own_on(Backend::available(), name, story));
    }
    trials.extend(SUBJECT.own(&[("more_than_1024_clients", more_than_1024_clients)]));
    trials
}

fn start(backend: Backend, stdin: impl Into<Stdio>) -> Server {
    let mut command = SUBJECT.command(backend);
    command.stdin(stdin);
    Server::start_with(command)
}

fn a_line_stops_it(backend: Backend) -> Result<(), Failed> {
    let (stdin, mut keyboard) = io::pipe()?;
    let mut server = start(backend, stdin);
    let client = connect(server.address)?;
    // Half a line blocks no client, and does not stop the server.
    keyboard.write_all(b"enou")?;
    for _ in 0..3 {
        SUBJECT.talk(&client, b"hello")?;
    }
    keyboard.write_all(b"gh\n")?;
    assert!(server.wait().success());
    Ok(())
}

fn a_line_without_an_end_stops_it(backend: Backend) -> Result<(), Failed> {
    let (stdin, mut keyboard) = io::pipe()?;
    let mut server = start(backend, stdin);
    keyboard.write_all(b"enough")?;
    drop(keyboard);
    assert!(server.wait().success());
    Ok(())
}

fn a_file_is_read_like_a_keyboard(backend: Backend) -> Result<(), Failed> {
    let mut file = tempfile::tempfile()?;
    file.write_all(b"enough\n")?;
    file.rewind()?;
    assert!(start(backend, file).wait().success());

    let server = start(backend, tempfile::tempfile()?);
    server.expect_line("standard input has ended");
    SUBJECT.talk(&connect(server.address)?, b"hello")?;
    server.stop();
    Ok(())
}

/// Nor does the server spin.
fn the_end_of_the_input_does_not_stop_it(backend: Backend) -> Result<(), Failed> {
    let closed_pipe = io::pipe()?.0;
    let mut no_stdin = Command::new("sh");
    let command = SUBJECT.command(backend);
    no_stdin.args(["-c", "exec \"$@\" <&-", "sh"]).arg(command.get_program());
    no_stdin.args(command.get_args());
    for server in [
        start(backend, Stdio::null()),
        start(backend, closed_pipe),
        start(backend, File::open("/")?),
        Server::start_with(no_stdin),
    ] {
        let client = connect(server.address)?;
        SUBJECT.talk(&client, b"hello")?;
        if cfg!(target_os = "linux") {
            wait_until_it_sleeps(&server)?;
        }
        SUBJECT.talk(&client, b"hello")?;
        server.stop();
    }
    Ok(())
}

/// Waits until the process sleeps; a process that spins never does.
fn wait_until_it_sleeps(server: &Server) -> Result<(), Failed> {
    let deadline = Instant::now() + SURELY;
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.id()))?;
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        if state == Some('S') {
            return Ok(());
        }
        assert!(Instant::now() < deadline, "it is still in state {state:?}");
        thread::yield_now();
    }
}

/// The limit of 1024 belongs to C's `fd_set`, not to the system.
fn more_than_1024_clients() -> Result<(), Failed> {
    const CLIENTS: usize = 1100;

    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if maximum.is_some_and(|maximum| maximum < 2 * CLIENTS as u64) {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let server = start(Backend::Select, Stdio::null());
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| connect(server.address)).collect::<io::Result<_>>()?;
    for client in clients.iter().rev() {
        SUBJECT.talk(client, b"hello")?;
    }
    server.stop();
    Ok(())
}
