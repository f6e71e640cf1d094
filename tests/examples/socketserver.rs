//! socketserver: four kinds of server, three mix-ins, one handler.

mod stopping;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Command;

use libtest_mimic::{Failed, Trial};

use crate::support::subject::reset;
use crate::support::{SURELY, Server, children_of, example};

const KINDS: [&str; 4] = ["tcp", "udp", "unix-stream", "unix-datagram"];
const MIXINS: [&str; 3] = ["plain", "threading", "forking"];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("socketserver::says_what_it_does", says_what_it_does),
        Trial::test("socketserver::a_path_is_needed_and_must_be_free", a_path_is_needed),
        Trial::test("socketserver::a_datagram_of_an_unnamed_socket_is_handled", handles_unnamed),
    ];
    for kind in KINDS {
        for mixin in MIXINS {
            let name = format!("socketserver::{kind}::{mixin}");
            trials.push(Trial::test(name, move || serves(kind, mixin)));
        }
    }
    for mixin in MIXINS {
        let name = format!("socketserver::tcp::{mixin}::bears_resets_and_stops_with_clients");
        trials.push(Trial::test(name, move || bears_resets(mixin)));
    }
    trials.extend(stopping::trials());
    trials
}

fn start(kind: &str, mixin: &str, path: &Path) -> Server {
    let mut command = example("socketserver");
    command.args(["--addr", "127.0.0.1:0", "--kind", kind, "--mixin", mixin]);
    command.arg("--path").arg(path);
    Server::start_with(command)
}

fn says_what_it_does() -> Result<(), Failed> {
    let server = Server::start("socketserver", &[]);
    let mut client = TcpStream::connect(server.address)?;
    server.expect_line("Accepted connection from 127.0.0.1:");
    client.write_all("你好".as_bytes())?;
    server.expect_line(": 你好");
    drop(client);
    server.expect_line("Closing connection from 127.0.0.1:");
    server.stop();
    Ok(())
}

fn a_path_is_needed() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("taken");
    std::fs::write(&path, "")?;
    for (arguments, complaint) in [(vec![], "--path"), (vec!["--path".into(), path], "in use")] {
        let mut command: Command = example("socketserver");
        let output = command.args(["--kind", "unix-stream"]).args(&arguments).output()?;
        assert!(!output.status.success());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(complaint), "{error}");
    }
    Ok(())
}

fn handles_unnamed() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("server");
    let server = start("unix-datagram", "plain", &path);
    UnixDatagram::unbound()?.send_to(b"hello", &path)?;
    server.expect_line("Received data from a socket without a name: hello");
    server.expect_line("Closing connection from a socket without a name");
    server.stop();
    Ok(())
}

/// Three messages of one client, then another client.
fn serves(kind: &str, mixin: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("server");
    let server = start(kind, mixin, &path);
    for client in 0..2 {
        let own = folder.path().join(format!("client {client}"));
        match kind {
            "tcp" => converse(TcpStream::connect(server.address)?)?,
            "unix-stream" => converse(UnixStream::connect(&path)?)?,
            "udp" => {
                let socket = UdpSocket::bind(("127.0.0.1", 0))?;
                socket.connect(server.address)?;
                socket.set_read_timeout(Some(SURELY))?;
                exchange(|message| socket.send(message), |reply| socket.recv(reply))?;
            }
            _ => {
                let socket = UnixDatagram::bind(&own)?;
                socket.connect(&path)?;
                socket.set_read_timeout(Some(SURELY))?;
                exchange(|message| socket.send(message), |reply| socket.recv(reply))?;
            }
        }
    }
    let id = server.id();
    server.stop();
    assert!(!path.exists(), "the server removes its file");
    assert!(children_of(id).is_empty());
    Ok(())
}

fn reply_to(message: &[u8]) -> Vec<u8> {
    [b"Server received your message:", message].concat()
}

fn converse(mut stream: impl Read + Write + Close) -> Result<(), Failed> {
    // A reply contains whole characters, also if one arrives in two pieces; the last stays incomplete.
    let character = "你".as_bytes();
    for (piece, expected) in [
        (&b"hello"[..], &b"hello"[..]),
        (&[&b"a"[..], &character[..2]].concat(), b"a"),
        (&character[2..], character),
        (&[&b"b"[..], &character[..1]].concat(), b"b"),
    ] {
        stream.write_all(piece)?;
        let mut reply = reply_to(expected);
        reply.fill(0);
        stream.read_exact(&mut reply)?;
        assert_eq!(reply, reply_to(expected));
    }
    stream.end_writing()?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    assert_eq!(rest, reply_to(&character[..1]));
    Ok(())
}

trait Close {
    fn end_writing(&self) -> std::io::Result<()>;
}

impl Close for TcpStream {
    fn end_writing(&self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Close for UnixStream {
    fn end_writing(&self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

fn exchange(
    send: impl Fn(&[u8]) -> std::io::Result<usize>,
    receive: impl Fn(&mut [u8]) -> std::io::Result<usize>,
) -> Result<(), Failed> {
    // Not UTF-8, and longer than any buffer of a kilobyte.
    for message in [&b"hello"[..], b"\xFF\xFE", &[b'x'; 5000]] {
        send(message)?;
        let mut reply = [0; 6000];
        let length = receive(&mut reply)?;
        assert!(reply[..length] == reply_to(message));
    }
    Ok(())
}

fn bears_resets(mixin: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let server = start("tcp", mixin, &folder.path().join("unused"));
    for _ in 0..20 {
        let mut client = TcpStream::connect(server.address)?;
        client.write_all(b"never mind")?;
        reset(client)?;
    }
    converse(TcpStream::connect(server.address)?)?;
    // An idle client does not keep the server from stopping.
    let mut idle = TcpStream::connect(server.address)?;
    idle.write_all(b"x")?;
    idle.read_exact(&mut [0; 30])?;
    let id = server.id();
    server.stop();
    assert!(children_of(id).is_empty());
    Ok(())
}
