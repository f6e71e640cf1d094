use std::io::{Read, Write};
use std::net::Shutdown;

use libtest_mimic::{Failed, Trial};
use polyselect::Backend;

use crate::support::subject::{Subject, connect};

static SUBJECT: Subject = Subject { example: "epoll_edge_server", answer: |_| b"OK".to_vec() };

fn with_edges() -> impl Iterator<Item = Backend> {
    Backend::available().filter(|backend| backend.capabilities().edge)
}

pub fn trials() -> Vec<Trial> {
    let mut trials = SUBJECT.trials(with_edges());
    trials.extend(SUBJECT.own(&[("says_once_that_there_is_work", says_once_that_there_is_work)]));
    trials.extend(SUBJECT.own_on(with_edges(), "one_edge_is_drained", one_edge_is_drained));
    let without_edges = Backend::available().filter(|backend| !backend.capabilities().edge);
    trials.extend(SUBJECT.own_on(without_edges, "is_refused_a_client", is_refused));
    trials
}

/// Other backends than epoll may report an edge more than once.
fn says_once_that_there_is_work() -> Result<(), Failed> {
    let server = SUBJECT.start(Backend::available().next().ok_or("no backend")?);
    let client = connect(server.address)?;
    for _ in 0..3 {
        SUBJECT.talk(&client, b"hello")?;
    }
    client.shutdown(Shutdown::Write)?;
    (&client).read_to_end(&mut Vec::new())?;
    let mut lines = Vec::new();
    let second = connect(server.address)?;
    while lines.iter().filter(|line: &&String| line.starts_with("Connect from ")).count() < 2 {
        lines.push(server.expect_line(""));
    }
    let edges = lines.iter().filter(|line| *line == "亲,你有IO需要处理哦").count();
    // Two connections, three messages, one end.
    assert_eq!(edges, 6, "{lines:?}");
    drop(second);
    server.stop();
    Ok(())
}

/// More than is read in one iteration, sent before the server reads.
fn one_edge_is_drained(backend: Backend) -> Result<(), Failed> {
    const SIZE: usize = 300 * 1024;

    let server = SUBJECT.start(backend);
    let mut client = connect(server.address)?;
    client.write_all(&[b'x'; SIZE])?;
    // A client that waits for each answer gets one for each piece, without sending or closing
    // anything more.
    let mut answers = vec![0; 2 * SIZE / 1024];
    client.read_exact(&mut answers)?;
    assert!(answers.chunks(2).all(|answer| answer == b"OK"));
    server.stop();
    Ok(())
}

fn is_refused(backend: Backend) -> Result<(), Failed> {
    let output = SUBJECT.command(backend).output()?;
    let error = String::from_utf8(output.stderr)?;
    let expected = format!("backend {backend} does not support edge-triggered delivery");
    assert!(!output.status.success() && error.contains(&expected), "{error}");
    Ok(())
}
