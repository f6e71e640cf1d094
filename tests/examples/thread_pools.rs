//! select_thread_pool and selectors_thread_pool.

use std::io::{Read, Write};

use libtest_mimic::{Failed, Trial};
use polyselect::Backend;

use crate::support::subject::{Subject, connect, reset};

const ANSWER: &[u8] = b"Server received your message.";

static SELECT: Subject = Subject { example: "select_thread_pool", answer: |_| ANSWER.to_vec() };
static SELECTORS: Subject =
    Subject { example: "selectors_thread_pool", answer: |_| ANSWER.to_vec() };

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for subject in [&SELECT, &SELECTORS] {
        trials.extend(subject.trials(Backend::available()));
    }
    let once = "nobody_is_submitted_twice";
    trials.extend(SELECT.own_on(Backend::available(), once, nobody_is_submitted_twice));
    trials.extend(SELECT.own(&[("says_what_it_does", || says_what_it_does(&SELECT))]));
    trials.extend(SELECTORS.own(&[("says_what_it_does", || says_what_it_does(&SELECTORS))]));
    trials
}

/// The loop's other work counts the tasks: one for each message.
fn nobody_is_submitted_twice(backend: Backend) -> Result<(), Failed> {
    let server = SELECT.start(backend);
    let clients = [connect(server.address)?, connect(server.address)?, connect(server.address)?];
    for _ in 0..20 {
        for client in &clients {
            SELECT.talk(client, b"hello")?;
        }
    }
    // No client sends anything, and the loop still gets to its other work.
    let mut tasks = 0;
    while tasks < 60 {
        let line = server.expect_line("other work: 3 clients wait, ");
        let text = line.rsplit("wait, ").next().and_then(|rest| rest.strip_suffix(" tasks so far"));
        tasks = text.ok_or("no tasks")?.parse()?;
    }
    assert_eq!(tasks, 60);
    server.stop();
    Ok(())
}

fn says_what_it_does(subject: &Subject) -> Result<(), Failed> {
    let server = subject.start(Backend::Poll);
    let [mut client, other] = [connect(server.address)?, connect(server.address)?];
    server.expect_line("Accepted connection from 127.0.0.1:");
    subject.talk(&client, b"hello")?;
    assert!(server.expect_line("Received data from 127.0.0.1:").ends_with(": hello"));
    // A character split in two.
    subject.talk(&client, "欢迎".as_bytes().split_at(4).0)?;
    assert!(server.expect_line("Received data from 127.0.0.1:").ends_with(": 欢"));
    subject.talk(&client, "欢迎".as_bytes().split_at(4).1)?;
    assert!(server.expect_line("Received data from 127.0.0.1:").ends_with(": 迎"));
    // Bytes that are not UTF-8.
    subject.talk(&client, b"\xff!")?;
    assert!(server.expect_line("Received data from 127.0.0.1:").ends_with(": \u{fffd}!"));
    client.shutdown(std::net::Shutdown::Write)?;
    server.expect_line("Closing connection from 127.0.0.1:");
    assert_eq!(client.read(&mut [0; 8])?, 0);
    (&other).write_all(b"bye")?;
    reset(other)?;
    server.stop();
    Ok(())
}
