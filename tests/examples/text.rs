//! The text that the examples print: whole characters, however they arrive, and all control characters.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, UdpSocket};
use std::process::Stdio;
use std::thread;

use libtest_mimic::{Failed, Trial};

use crate::support::subject::connect;
use crate::support::{Server, example};

/// The servers that print what they receive as text, and answer each message.
const PRINTING: &[(&str, &[&str])] = &[
    #[cfg(feature = "async")]
    ("asyncio_start_server", &[]),
    ("asyncio_echo", &[]),
    ("epoll_edge_server", &[]),
    ("fork_server", &[]),
    ("keepalive_server", &[]),
    ("poll_ok_server", &[]),
    ("select_ok_server", &[]),
    ("select_thread_pool", &[]),
    ("selectors_thread_pool", &[]),
    ("socketserver", &["--mixin", "plain"]),
    ("socketserver", &["--mixin", "threading"]),
    ("socketserver", &["--mixin", "forking"]),
    ("thread_ok_server", &[]),
];

/// A character that is sent in two pieces, and what a terminal would not show.
const CONTROLS: &str = "欢\u{1b}[1m\u{7}\0\r\u{8}\u{9b}";

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("udp_server::prints_the_bytes_of_a_datagram", prints_a_datagram),
        Trial::test("welcome_client::prints_the_bytes_that_arrive_in_pieces", prints_the_welcome),
        Trial::test("keepalive_client::prints_the_bytes_that_arrive_in_pieces", prints_answers),
    ];
    for &(name, arguments) in PRINTING {
        let mixin = arguments.last().map_or(String::new(), |mixin| format!("{mixin}::"));
        let claim = format!("{name}::{mixin}prints_the_bytes_that_arrive_in_pieces");
        trials.push(Trial::test(claim, move || prints_whole_characters(name, arguments)));
    }
    trials
}

fn prints_whole_characters(name: &str, arguments: &[&str]) -> Result<(), Failed> {
    let server = Server::start(name, arguments);
    let mut client = connect(server.address)?;
    let (head, tail) = CONTROLS.as_bytes().split_at(2);
    let begun = &"束".as_bytes()[..2];
    for piece in [&[b"a", head].concat()[..], tail, &[b"b", begun].concat()] {
        client.write_all(piece)?;
        // The server answers when it has printed the piece.
        assert!(client.read(&mut [0; 1024])? > 0);
    }
    client.shutdown(Shutdown::Write)?;
    client.read_to_end(&mut Vec::new())?;
    let lines = server.stop_and_read();
    assert!(lines.iter().any(|line| line.contains(CONTROLS)), "{lines:?}");
    // The stream ends within the last character, and only that is not text.
    let bad: Vec<_> = lines.iter().filter(|line| line.contains('\u{fffd}')).collect();
    let [printed, quoted @ ..] = &bad[..] else { return Err(format!("{lines:?}").into()) };
    assert!(printed.ends_with('\u{fffd}') || printed.contains("\u{fffd} from "), "{lines:?}");
    // asyncio's programs print a message twice.
    assert!(quoted.iter().all(|line| line.starts_with("Send: ")), "{lines:?}");
    Ok(())
}

fn prints_a_datagram() -> Result<(), Failed> {
    let server = Server::start("udp_server", &[]);
    let client = UdpSocket::bind(("127.0.0.1", 0))?;
    // As long as a datagram can be, so that a buffer that is too small would cut a character.
    let longest = "欢".repeat(65_507 / 3);
    for text in [CONTROLS, &longest] {
        client.send_to(text.as_bytes(), server.address)?;
        assert_eq!(server.expect_line("欢"), text);
    }
    server.stop();
    Ok(())
}

fn prints_the_welcome() -> Result<(), Failed> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?.to_string();
    let server = thread::spawn(move || -> std::io::Result<()> {
        let (mut conn, _) = listener.accept()?;
        conn.set_nodelay(true)?;
        CONTROLS.as_bytes().iter().try_for_each(|byte| conn.write_all(&[*byte]))
    });
    let output = example("welcome_client").arg(address).output()?;
    server.join().expect("does not panic")?;
    assert_eq!(String::from_utf8(output.stdout)?, format!("{CONTROLS}\n"));
    Ok(())
}

/// Each answer of this server ends within a character.
fn prints_answers() -> Result<(), Failed> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?.to_string();
    let server = thread::spawn(move || -> std::io::Result<()> {
        let (mut conn, _) = listener.accept()?;
        for piece in CONTROLS.as_bytes().chunks(2) {
            assert_eq!(conn.read(&mut [0; 16])?, 1);
            conn.write_all(piece)?;
        }
        Ok(())
    });
    let mut client = example("keepalive_client");
    client.arg(address).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = client.spawn()?;
    let lines = "x\n".repeat(CONTROLS.len().div_ceil(2));
    client.stdin.take().ok_or("a pipe")?.write_all(lines.as_bytes())?;
    let output = client.wait_with_output()?;
    server.join().expect("does not panic")?;
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout)?.replace(['>', '\n'], "");
    assert_eq!(printed, CONTROLS);
    Ok(())
}
