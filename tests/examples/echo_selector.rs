use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Completion, Failed, Trial};
use polyselect::Backend;

use crate::support::python::talk_with_python;
use crate::support::subject::{Subject, connect};
use crate::support::{Server, example};

static SUBJECT: Subject = Subject { example: "echo_selector", answer: <[u8]>::to_vec };

pub fn trials() -> Vec<Trial> {
    let mut trials = SUBJECT.burst_trials();
    trials.extend([
        Trial::test("echo_selector::says_what_it_does", says_what_it_does),
        Trial::test("echo_selector::ends_though_nothing_reads_its_output", ends_with_unread_output),
        Trial::test("echo_selector::names_the_backends_for_a_bad_one", names_the_backends),
    ]);
    for backend in Backend::available() {
        for (name, run) in [
            ("the_environment_chooses", the_environment_chooses as fn(Backend) -> _),
            ("a_thousand_python_clients", a_thousand_python_clients),
            ("clients_that_reset_or_read_nothing", clients_that_reset_or_read_nothing),
            ("runs_out_of_descriptors_and_goes_on", runs_out_of_descriptors_and_goes_on),
        ] {
            let name = format!("echo_selector::{backend}::{name}");
            trials.push(Trial::ignorable_test(name, move || run(backend)));
        }
    }
    trials
}

fn start(backend: Backend) -> Server {
    let mut command = example("echo_selector");
    command.args(["--addr", "127.0.0.1:0", "--backend", backend.name()]).env("RUST_LOG", "off");
    Server::start_with(command)
}

fn says_what_it_does() -> Result<(), Failed> {
    let server = Server::start("echo_selector", &[]);
    assert!(server.preamble.is_empty());
    let mut client = TcpStream::connect(server.address)?;
    server.expect_line("accepted 127.0.0.1:");
    client.write_all(b"hello\n")?;
    let mut reply = [0; 6];
    client.read_exact(&mut reply)?;
    assert_eq!(&reply, b"hello\n");
    server.expect_line("echoing b\"hello\\n\" to 127.0.0.1:");
    client.shutdown(Shutdown::Write)?;
    assert_eq!(client.read(&mut reply)?, 0);
    server.expect_line("closing 127.0.0.1:");
    server.stop();
    Ok(())
}

/// The server goes on when the pipe is full, and Ctrl-C still stops it.
fn ends_with_unread_output() -> Result<(), Failed> {
    /// More than a pipe holds and the server buffers.
    const OUTPUT: usize = 4 << 20;

    let server = Server::start_unread(SUBJECT.command(Backend::available().next().ok_or("one")?));
    let client = connect(server.address)?;
    for _ in 0..OUTPUT / 1024 {
        SUBJECT.talk(&client, &[b'x'; 1024])?;
    }
    server.stop();
    Ok(())
}

fn names_the_backends() -> Result<(), Failed> {
    for (argument, variable) in [(Some("epool"), None), (None, Some("epool"))] {
        let mut command = example("echo_selector");
        command.args(["--addr", "127.0.0.1:0"]);
        command.args(argument.into_iter().flat_map(|name| ["--backend", name]));
        command.envs(variable.map(|name| ("POLYSELECT_BACKEND", name)));
        let output = command.output()?;
        assert!(!output.status.success());
        let message = String::from_utf8(output.stderr)?.replace('\\', "");
        for backend in Backend::ALL {
            assert!(message.contains(backend.name()), "{message}");
        }
        assert!(message.contains("unknown backend \"epool\""), "{message}");
    }
    Ok(())
}

fn the_environment_chooses(backend: Backend) -> Result<Completion, Failed> {
    let mut command = example("echo_selector");
    command.args(["--addr", "127.0.0.1:0"]).env("POLYSELECT_BACKEND", backend.name());
    command.env("RUST_LOG", "polyselect=debug");
    let server = Server::start_with(command);
    assert_eq!(server.preamble, [format!("selector on {backend}")]);
    server.stop();
    Ok(Completion::Completed)
}

fn a_thousand_python_clients(backend: Backend) -> Result<Completion, Failed> {
    talk_with_python("echo.py", || start(backend), 1000, 65_536)
}

/// Neither broken clients nor one that never reads keep the server from serving others.
fn clients_that_reset_or_read_nothing(backend: Backend) -> Result<Completion, Failed> {
    let server = start(backend);
    let deaf = TcpStream::connect(server.address)?;
    deaf.set_nonblocking(true)?;
    while (&deaf).write(&[b'x'; 65536]).is_ok() {}
    for _ in 0..50 {
        let mut client = TcpStream::connect(server.address)?;
        client.write_all(b"never mind")?;
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    }
    let mut client = TcpStream::connect(server.address)?;
    client.set_read_timeout(Some(Duration::from_secs(20)))?;
    for _ in 0..10 {
        client.write_all(b"still there?")?;
        let mut reply = [0; 12];
        client.read_exact(&mut reply)?;
        assert_eq!(&reply, b"still there?");
    }
    server.stop();
    Ok(Completion::Completed)
}

/// With few free descriptors, accepted clients are served, and the others are accepted when a
/// descriptor is free.
fn runs_out_of_descriptors_and_goes_on(backend: Backend) -> Result<Completion, Failed> {
    let mut command = Command::new("sh");
    let server = example("echo_selector");
    command.args(["-c", "ulimit -n 24; exec \"$@\"", "sh"]).arg(server.get_program());
    command.args(["--addr", "127.0.0.1:0", "--backend", backend.name()]).env("RUST_LOG", "off");
    let server = Server::start_with(command);
    let mut clients = Vec::new();
    for _ in 0..40 {
        let client = TcpStream::connect(server.address)?;
        client.set_read_timeout(Some(Duration::from_secs(20)))?;
        clients.push(client);
    }
    let mut reply = [0; 5];
    for mut client in clients {
        client.write_all(b"hello")?;
        client.read_exact(&mut reply)?;
        assert_eq!(&reply, b"hello");
    }
    server.stop();
    Ok(Completion::Completed)
}
