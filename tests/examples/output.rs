//! Standard output that takes no more: a pipe that is closed, and a full disk.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};

use crate::headers::examples;
use crate::support::subject::connect;
use crate::support::{Server, example, wait};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("ftp_client::ends_quietly_when_its_output_is_closed", ftp_client),
        Trial::test("keepalive_client::ends_quietly_when_its_output_is_closed", keepalive_client),
        Trial::test("many_clients::ends_quietly_when_its_output_is_closed", many_clients),
        Trial::test("welcome_client::ends_quietly_when_its_output_is_closed", welcome_client),
        Trial::test("socketserver::removes_its_file_when_its_output_is_closed", removes_its_file),
        Trial::test("ftp_server::removes_half_a_file_when_its_output_is_closed", half_a_file),
    ];
    #[cfg(target_os = "linux")]
    trials.push(Trial::test("backends::reports_that_the_disk_is_full", disk_is_full));
    for (name, arguments) in
        [("backends", &[][..]), ("blocking_modes", &[]), ("epoll_server", &["--idle", "100"])]
    {
        let claim = format!("{name}::ends_quietly_when_its_output_is_closed");
        trials.push(Trial::test(claim, move || ends_quietly(example(name).args(arguments))));
    }
    for name in servers().expect("the folder of the examples can be read") {
        let claim = format!("{name}::stops_quietly_when_its_output_is_closed");
        trials.push(Trial::test(claim, move || stops_quietly(&name)));
    }
    trials
}

/// All examples that listen, and are in this build.
pub fn servers() -> Result<Vec<String>, Failed> {
    let mut servers = Vec::new();
    for (name, main) in examples()? {
        let source = std::fs::read_to_string(main)?;
        let is_server = source.contains("#[arg(long, value_name = \"HOST:PORT\"");
        let is_built = cfg!(feature = "async") || !source.contains("--features async");
        // It needs a library that may not be installed; `in_glib` tests it.
        if is_server && is_built && !["blocking_modes", "in_glib"].contains(&&*name) {
            servers.push(name);
        }
    }
    assert!(servers.len() > 25, "{servers:?}");
    Ok(servers)
}

/// Checks that a program has ended without a word, and successfully.
fn is_quiet(mut child: Child) -> Result<(), Failed> {
    let status = wait(&mut child);
    let mut error = String::new();
    child.stderr.take().ok_or("a pipe")?.read_to_string(&mut error)?;
    assert!(status.success() && error.is_empty(), "{status}: {error}");
    Ok(())
}

fn closed_pipe() -> io::Result<Stdio> {
    Ok(io::pipe()?.1.into())
}

fn ends_quietly(command: &mut Command) -> Result<(), Failed> {
    let command = command.stdout(closed_pipe()?).stderr(Stdio::piped());
    is_quiet(command.stdin(Stdio::piped()).spawn()?)
}

/// Reads the server's address, and closes the pipe.
fn read_the_address(child: &mut Child) -> Result<String, Failed> {
    let output = BufReader::new(child.stdout.take().ok_or("a pipe")?);
    for line in output.lines() {
        if let Some(address) = line?.strip_prefix("listening on ") {
            return Ok(address.to_owned());
        }
    }
    Err("prints no address".into())
}

fn start(command: &mut Command) -> io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

fn stops_quietly(name: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut command = example(name);
    command.args(["--addr", "127.0.0.1:0"]);
    if name == "ftp_server" {
        command.arg(folder.path());
    }
    // Each step is printed, because some print nothing of their own for a client.
    let mut server = start(command.env("RUST_LOG", "trace"))?;
    let address = read_the_address(&mut server)?;
    if name == "udp_server" {
        std::net::UdpSocket::bind(("127.0.0.1", 0))?.send_to(b"hello", address)?;
        return is_quiet(server);
    }
    let mut client = connect(address.parse()?)?;
    let _ = client.write_all(b"hello\n");
    if name == "fork_server" {
        // Only the child prints. It ends, and the parent stops at Ctrl-C.
        let _ = client.read_to_end(&mut Vec::new());
        kill_process(Pid::from_child(&server), Signal::INT)?;
    }
    is_quiet(server)
}

fn removes_its_file() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("server");
    let mut command = example("socketserver");
    command.args(["--kind", "unix-stream", "--path"]).arg(&path);
    let mut server = start(&mut command)?;
    read_the_address(&mut server)?;
    let _client = std::os::unix::net::UnixStream::connect(&path)?;
    is_quiet(server)?;
    assert!(!path.exists());
    Ok(())
}

fn half_a_file() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for model in ["threads", "event-loop"] {
        let mut command = example("ftp_server");
        command.args(["--addr", "127.0.0.1:0", "--model", model]).arg(folder.path());
        let mut server = start(&mut command)?;
        let mut output = BufReader::new(server.stdout.take().ok_or("a pipe")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let address = line.trim_end().strip_prefix("listening on ").ok_or("an address")?;
        let mut client = connect(address.parse()?)?;
        client.write_all(b"P\0\0\0\x04nameD\0\0\0\x04half")?;
        client.read_exact(&mut [0; 13])?;
        assert_eq!(folder.path().read_dir()?.count(), 1);
        drop(output);
        // The next client makes it print.
        let _next = TcpStream::connect(client.peer_addr()?)?;
        is_quiet(server)?;
        assert_eq!(folder.path().read_dir()?.count(), 0);
    }
    Ok(())
}

fn welcome_client() -> Result<(), Failed> {
    let server = Server::start("welcome_server", &[]);
    ends_quietly(example("welcome_client").arg(server.address.to_string()))?;
    server.stop();
    Ok(())
}

fn keepalive_client() -> Result<(), Failed> {
    let server = Server::start("keepalive_server", &[]);
    ends_quietly(example("keepalive_client").arg(server.address.to_string()))?;
    server.stop();
    Ok(())
}

fn ftp_client() -> Result<(), Failed> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    ends_quietly(example("ftp_client").arg(listener.local_addr()?.to_string()))
}

/// `many_clients | head -1`.
fn many_clients() -> Result<(), Failed> {
    let server = Server::start("echo_selector", &[]);
    let mut command = example("many_clients");
    command.arg(server.address.to_string()).args(["--clients", "50"]).env("RUST_LOG", "debug");
    let mut client = start(&mut command)?;
    let mut output = BufReader::new(client.stdout.take().ok_or("a pipe")?);
    output.read_line(&mut String::new())?;
    drop(output);
    is_quiet(client)?;
    server.stop();
    Ok(())
}

#[cfg(target_os = "linux")]
fn disk_is_full() -> Result<(), Failed> {
    let full = std::fs::File::options().write(true).open("/dev/full")?;
    let output = example("backends").stdout(full).output()?;
    let error = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.starts_with("Error: standard output: No space left"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    Ok(())
}
