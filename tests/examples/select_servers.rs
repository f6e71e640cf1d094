//! select_echo, select_queue, select_ok_server and poll_ok_server.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use libtest_mimic::{Failed, Trial};
use polyselect::Backend;
use socket2::SockRef;

use crate::support::subject::{Subject, connect, reset};

static ECHO: Subject = Subject { example: "select_echo", answer: <[u8]>::to_vec };
static QUEUE: Subject = Subject { example: "select_queue", answer: <[u8]>::to_ascii_uppercase };
static SELECT_OK: Subject = Subject { example: "select_ok_server", answer: |_| b"OK".to_vec() };
static POLL_OK: Subject = Subject { example: "poll_ok_server", answer: |_| b"OK".to_vec() };

fn with_priority() -> impl Iterator<Item = Backend> {
    Backend::available().filter(|backend| backend.capabilities().priority)
}

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for subject in [&ECHO, &QUEUE, &SELECT_OK, &POLL_OK] {
        trials.extend(subject.trials(Backend::available()));
    }
    trials.extend(ECHO.own(&[("says_what_it_does", echo_says_what_it_does)]));
    trials.extend(QUEUE.own(&[("says_what_it_does", queue_says_what_it_does)]));
    trials.extend(SELECT_OK.own(&[("says_what_it_does", || ok_says_what_it_does(&SELECT_OK))]));
    trials.extend(POLL_OK.own(&[("says_what_it_does", || ok_says_what_it_does(&POLL_OK))]));
    let taken = ("out_of_band_data_is_taken", out_of_band_data_is_taken as fn(Backend) -> _);
    trials.extend(ECHO.own_on(with_priority(), taken.0, taken.1));
    let closes = ("out_of_band_data_closes", out_of_band_data_closes as fn(Backend) -> _);
    trials.extend(QUEUE.own_on(with_priority(), closes.0, closes.1));
    trials
}

fn echo_says_what_it_does() -> Result<(), Failed> {
    let server = ECHO.start(Backend::Select);
    let client = connect(server.address)?;
    server.expect_line("来了个新连接 127.0.0.1:");
    ECHO.talk(&client, b"hello\n")?;
    server.expect_line("收到的数据 b\"hello\\n\"");
    reset(client)?;
    server.expect_line("]客户端断开了 (");
    server.stop();
    Ok(())
}

/// The client stays connected, and the byte is not reported for ever.
fn out_of_band_data_is_taken(backend: Backend) -> Result<(), Failed> {
    let server = ECHO.start(backend);
    let client = connect(server.address)?;
    ECHO.talk(&client, b"before")?;
    SockRef::from(&client).send_out_of_band(b"!")?;
    server.expect_line("1 byte out of band from 127.0.0.1:");
    ECHO.talk(&client, b"after")?;
    server.stop();
    Ok(())
}

fn queue_says_what_it_does() -> Result<(), Failed> {
    let server = QUEUE.start(Backend::Select);
    server.expect_line(&format!("starting up on {}", server.address));
    server.expect_line("waiting for next event...");
    let client = connect(server.address)?;
    server.expect_line("new connection from 127.0.0.1:");
    QUEUE.talk(&client, b"hello, w\xc3\xb6rld\n")?;
    server.expect_line("收到来自[127.0.0.1:");
    server.expect_line("sending msg to [127.0.0.1:");
    server.expect_line("] queue is empty..");
    drop(client);
    server.expect_line("客户端断开了 127.0.0.1:");
    server.stop();
    Ok(())
}

fn out_of_band_data_closes(backend: Backend) -> Result<(), Failed> {
    let server = QUEUE.start(backend);
    let [exceptional, other] = [connect(server.address)?, connect(server.address)?];
    QUEUE.talk(&exceptional, b"before")?;
    SockRef::from(&exceptional).send_out_of_band(b"!")?;
    server.expect_line("handling exception for 127.0.0.1:");
    // Closing with an unread byte causes a reset.
    let end = (&exceptional).read(&mut [0; 8]);
    assert!(
        matches!(&end, Ok(0))
            || matches!(&end, Err(error) if error.kind() == io::ErrorKind::ConnectionReset),
        "{end:?}"
    );
    QUEUE.talk(&other, b"still there?")?;
    server.stop();
    Ok(())
}

fn ok_says_what_it_does(subject: &Subject) -> Result<(), Failed> {
    let server = subject.start(Backend::Select);
    let mut client: TcpStream = connect(server.address)?;
    server.expect_line("Connect from 127.0.0.1:");
    subject.talk(&client, "你好".as_bytes())?;
    server.expect_line("Receive: 你好");
    client.write_all(b"no UTF-8: \xff")?;
    server.expect_line("Receive: no UTF-8: \u{fffd}");
    server.stop();
    Ok(())
}
