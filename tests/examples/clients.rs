//! keepalive_client, udp_client and udp_server; welcome_client is tested with its servers.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use crate::support::{Server, example};

const ANSWER: &str = "Server received your message.";

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("keepalive_client::talks_until_exit", talks_until_exit),
        Trial::test("keepalive_client::ends_with_its_input_or_the_server", ends_with_its_input),
        Trial::test("keepalive_client::a_long_line_has_several_answers", several_answers),
        Trial::test("keepalive_client::waits_for_the_whole_answer", the_whole_answer),
        Trial::test("keepalive_client::sends_a_long_line_without_cutting_a_character", long_line),
        Trial::test("keepalive_client::reports_a_line_that_is_not_utf8", not_utf8),
        Trial::test("keepalive_client::prints_what_other_servers_say", other_servers),
        Trial::test("udp_server::prints_each_datagram", prints_each_datagram),
        Trial::test("udp_client::says_what_is_too_long", says_what_is_too_long),
    ]
}

fn start(name: &str) -> Server {
    Server::start(name, &[])
}

/// The output of keepalive_client for these input lines.
fn typed(address: &str, lines: &str) -> Result<String, Failed> {
    let mut client = example("keepalive_client");
    client.arg(address).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = client.spawn()?;
    client.stdin.take().ok_or("a pipe")?.write_all(lines.as_bytes())?;
    let output = client.wait_with_output()?;
    assert!(output.status.success());
    Ok(String::from_utf8(output.stdout)?)
}

fn talks_until_exit() -> Result<(), Failed> {
    let server = start("keepalive_server");
    let output = typed(&server.address.to_string(), "你好\n\nagain\nexit\nnever\n")?;
    assert_eq!(output, format!(">{ANSWER}\n>>{ANSWER}\n>"));
    server.expect_line(": 你好");
    server.expect_line(": again");
    server.stop();
    Ok(())
}

fn ends_with_its_input() -> Result<(), Failed> {
    let server = start("keepalive_server");
    let address = server.address.to_string();
    let output = example("keepalive_client").arg(&address).stdin(Stdio::null()).output()?;
    assert!(output.status.success());
    server.stop();
    let output = example("keepalive_client").arg(&address).stdin(Stdio::null()).output()?;
    assert!(!output.status.success(), "the server has stopped");
    Ok(())
}

fn prints_each_datagram() -> Result<(), Failed> {
    let server = start("udp_server");
    let address = server.address.to_string();
    assert!(example("udp_client").arg(&address).status()?.success());
    server.expect_line("Hello, Server!");
    let client = UdpSocket::bind(("127.0.0.1", 0))?;
    client.send_to(b"not \xFF text", server.address)?;
    server.expect_line("not \u{FFFD} text");
    let long = "x".repeat(5000);
    client.send_to(long.as_bytes(), server.address)?;
    server.expect_line(&long);
    client.send_to(b"", server.address)?;
    client.send_to(b"still there", server.address)?;
    server.expect_line("still there");
    server.stop();
    Ok(())
}

/// The answers to a long line are not taken for those of the lines after it.
fn several_answers() -> Result<(), Failed> {
    let server = start("keepalive_server");
    let long = "x".repeat(5000);
    let output = typed(&server.address.to_string(), &format!("{long}\nshort\nexit\n"))?;
    let lines: Vec<_> = output.lines().collect();
    let [of_the_long, of_the_short, ">"] = lines[..] else { return Err(output.into()) };
    // The server reads 1024 bytes at a time.
    assert!(of_the_long.starts_with(&format!(">{}", ANSWER.repeat(5))), "{output}");
    assert_eq!(of_the_short, format!(">{ANSWER}"));
    server.expect_line(": short");
    server.stop();
    Ok(())
}

fn long_line() -> Result<(), Failed> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?.to_string();
    let server = thread::spawn(move || -> std::io::Result<Vec<Vec<u8>>> {
        let (mut conn, _addr) = listener.accept()?;
        let (mut parts, mut buffer) = (Vec::new(), vec![0; 65_536]);
        loop {
            match conn.read(&mut buffer)? {
                0 => return Ok(parts),
                n => parts.push(buffer[..n].to_vec()),
            }
            conn.write_all(ANSWER.as_bytes())?;
        }
    });
    // The 1,024th byte is inside a character.
    let line = "x".to_owned() + &"欢".repeat(1000);
    let output = typed(&address, &format!("{line}\n"))?;
    assert_eq!(output, format!(">{}\n>", ANSWER.repeat(3)));
    let parts = server.join().expect("does not panic")?;
    assert!(parts.iter().all(|part| std::str::from_utf8(part).is_ok()), "{parts:?}");
    assert_eq!(String::from_utf8(parts.concat())?, line);
    Ok(())
}

fn not_utf8() -> Result<(), Failed> {
    let server = start("keepalive_server");
    let mut client = example("keepalive_client");
    client.arg(server.address.to_string()).stdin(Stdio::piped());
    let mut client = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    client.stdin.take().ok_or("a pipe")?.write_all(b"hello\n\xff\xfe!\nnever sent\n")?;
    let output = client.wait_with_output()?;
    assert_eq!(output.status.code(), Some(1));
    let expected = "Error: the line b\"\\xff\\xfe!\" is not UTF-8, and was not sent\n";
    assert_eq!(String::from_utf8(output.stderr)?, expected);
    let lines = server.stop_and_read();
    assert_eq!(lines.iter().filter(|line| line.contains("Received data")).count(), 1, "{lines:?}");
    Ok(())
}

fn the_whole_answer() -> Result<(), Failed> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?.to_string();
    let server = thread::spawn(move || -> std::io::Result<()> {
        let (mut conn, _addr) = listener.accept()?;
        for message in ["hello", "again"] {
            let mut read = vec![0; message.len()];
            conn.read_exact(&mut read)?;
            assert_eq!(read, message.as_bytes());
            let (head, tail) = ANSWER.split_at(10);
            conn.write_all(head.as_bytes())?;
            // Long enough for a client that does not wait to print its output.
            thread::sleep(Duration::from_millis(100));
            conn.write_all(tail.as_bytes())?;
        }
        Ok(())
    });
    let output = typed(&address, "hello\nagain\nexit\n")?;
    server.join().expect("does not panic")?;
    assert_eq!(output, format!(">{ANSWER}\n>{ANSWER}\n>"));
    Ok(())
}

fn other_servers() -> Result<(), Failed> {
    let server = start("asyncio_echo");
    let output = typed(&server.address.to_string(), "你好\nagain\nexit\n")?;
    assert_eq!(output, ">你好\n>again\n>");
    server.stop();
    Ok(())
}

fn says_what_is_too_long() -> Result<(), Failed> {
    let server = start("udp_server");
    let address = server.address.to_string();
    let output = example("udp_client").arg(&address).arg("x".repeat(65_508)).output()?;
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr)?;
    for part in [&*address, "65508 bytes", "too long for a datagram", "65507"] {
        assert!(error.contains(part), "{error}");
    }
    // Other systems have a lower limit, which is configurable.
    if cfg!(target_os = "linux") {
        let longest = "y".repeat(65_507);
        assert!(example("udp_client").args([&address, &longest]).status()?.success());
        server.expect_line(&longest);
    }
    server.stop();
    Ok(())
}
