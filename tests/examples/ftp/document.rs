//! The programs of document 003 with those of this project: their messages have no lengths.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::thread;

use libtest_mimic::{Failed, Trial};

use super::{MENU, Model, Story, command, expect, refused, run_client_with};
use crate::support::Server;
use crate::support::subject::connect;

pub const STORIES: &[(&str, Story)] = &[
    ("the_client_of_the_document_gets_a_message", the_client_gets_a_message),
    ("a_frame_that_begins_in_pieces_is_waited_for", pieces_are_waited_for),
];

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("ftp::client::the_server_of_the_document_does_not_answer", no_answer),
        Trial::test("ftp::client::the_server_of_the_document_sends_no_frame", no_frame),
    ]
}

pub const NO_FRAMES: &str = "this server needs frames with a length, which the document's client does not send: use ftp_client";

fn start(model: Model, patience: &str) -> Result<(tempfile::TempDir, Server), Failed> {
    let folder = tempfile::tempdir()?;
    let mut command = command(model, folder.path());
    command.args(["--patience", patience]);
    Ok((folder, Server::start_with(command)))
}

/// The document's requests are `L`, `G NAME` and `Q`.
fn the_client_gets_a_message(model: Model) -> Result<(), Failed> {
    let (_folder, server) = start(model, "1")?;
    for (request, why) in [
        (&b"L"[..], "no whole frame has arrived for 1s"),
        (b"G a", "no whole frame has arrived for 1s"),
        (b"G name", "the other side sent a frame of 544104813 bytes"),
    ] {
        let mut client = connect(server.address)?;
        client.write_all(request)?;
        // The document's client reads the answer with one `recv(128)`.
        let mut answer = Vec::new();
        client.read_to_end(&mut answer)?;
        assert_eq!(String::from_utf8(answer)?, NO_FRAMES);
        let line = server.expect_line(" is gone: ");
        assert!(line.contains(why) && line.contains("ftp_server and ftp_client"), "{line}");
    }
    assert!(NO_FRAMES.len() <= 128);
    // Its `Q` is followed by the end of the stream.
    let mut client = connect(server.address)?;
    client.write_all(b"Q")?;
    client.shutdown(Shutdown::Write)?;
    assert_eq!(client.read(&mut [0; 8])?, 0);
    server.stop();
    Ok(())
}

/// A client may be silent between frames, and within one once its length is known.
fn pieces_are_waited_for(model: Model) -> Result<(), Failed> {
    let (_folder, server) = start(model, "1")?;
    let [mut silent, mut begun] = [connect(server.address)?, connect(server.address)?];
    begun.write_all(b"G\0\0\0\x04na")?;
    let mut given_up = connect(server.address)?;
    given_up.write_all(b"L")?;
    server.expect_line(" is gone: ");
    begun.write_all(b"me")?;
    expect(&mut begun, &refused("文件不存在"))?;
    silent.write_all(b"L\0\0\0\0")?;
    expect(&mut silent, &refused("文件库为空"))?;
    server.stop();
    Ok(())
}

/// The document's server ignores a request that is not one of its own.
fn no_answer() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?.to_string();
    let server = thread::spawn(move || -> std::io::Result<()> {
        let (mut conn, _) = listener.accept()?;
        match conn.read_to_end(&mut Vec::new()) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(error),
            _ => Ok(()),
        }
    });
    let output = run_client_with(&address, folder.path(), "list\n", &["--patience", "1"])?;
    server.join().expect("does not panic")?;
    assert_eq!(String::from_utf8(output.stdout)?, MENU);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr)?,
        format!(
            "Error: {address}: no whole frame has arrived for 1s; ftp_server and ftp_client of this example \
             understand each other, and no others\n"
        )
    );
    Ok(())
}

/// It takes `G\0\0\0\x04name` for a request of a file, and answers with text.
fn no_frame() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (answer, why) in
        [("文件不存在", "the other side sent a frame of "), ("OK", "no whole frame")]
    {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?.to_string();
        let server = thread::spawn(move || -> std::io::Result<()> {
            let (mut conn, _) = listener.accept()?;
            conn.read_exact(&mut [0; 9])?;
            conn.write_all(answer.as_bytes())?;
            let _ = conn.read(&mut [0; 9]);
            Ok(())
        });
        let output = run_client_with(&address, folder.path(), "get name\n", &["--patience", "1"])?;
        server.join().expect("does not panic")?;
        let error = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(why) && error.contains("ftp_server and ftp_client"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert_eq!(folder.path().read_dir()?.count(), 0);
    }
    Ok(())
}
