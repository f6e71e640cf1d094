//! A client that sends requests one after the other, and reconnects when the connection fails:
//! after 1 s, 2 s, 4 s and so on, up to 30 s.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use polyselect::EventLoop;
use polyselect::asyncio::{self, Async};
use polyselect::testing::{Disorder, Faults, Flaky, Lab, explore, first_failure};

use super::{First, Mended, Version};

use crate::sockets::{Stream, stream_pair};

const SECOND: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// How the client gets a connection.
type Connect = Rc<dyn Fn() -> io::Result<Async<Flaky<Stream>>>>;

async fn client(connect: Connect, version: Version, requests: &[&str]) -> Vec<String> {
    let mut waiting: VecDeque<_> = requests.iter().copied().collect();
    let mut replies = Vec::new();
    let mut delay = SECOND;
    while !waiting.is_empty() {
        let before = replies.len();
        if let Ok(conn) = connect() {
            // An error ends the connection, not the client.
            let _ = converse(conn, version, &mut waiting, &mut replies).await;
        }
        if version == Mended && replies.len() > before {
            delay = SECOND;
        }
        if !waiting.is_empty() {
            asyncio::sleep(delay).await;
            delay = LONGEST.min(2 * delay);
        }
    }
    replies
}

async fn converse(
    conn: Async<Flaky<Stream>>,
    version: Version,
    waiting: &mut VecDeque<&str>,
    replies: &mut Vec<String>,
) -> io::Result<()> {
    let (mut reader, mut writer) = conn.split();
    while let Some(&request) = waiting.front() {
        if version == First {
            waiting.pop_front();
        }
        writer.write(format!("{request}\n").as_bytes())?;
        let reply = asyncio::timeout(5 * SECOND, reader.read_line()).await??;
        if reply.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        replies.push(String::from_utf8_lossy(reply).trim_end().to_owned());
        if version == Mended {
            waiting.pop_front();
        }
    }
    Ok(())
}

/// A server that echoes each line, and whose connections fail now and then.
fn requests_through_failures(lab: &Lab, version: Version, faults: Faults) {
    const REQUESTS: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

    let mut event_loop = EventLoop::new(()).unwrap();
    let servers = Rc::new(RefCell::new(Vec::new()));
    let connections = Rc::new(Cell::new(0));
    let connect: Connect = {
        let (lab, servers, connections) =
            (lab.clone(), Rc::clone(&servers), Rc::clone(&connections));
        Rc::new(move || {
            connections.set(connections.get() + 1);
            let (client, server) = stream_pair()?;
            client.set_nonblocking(true)?;
            let server = Async::new(server)?;
            servers.borrow_mut().push(asyncio::spawn(async move {
                let (mut reader, mut writer) = server.split();
                loop {
                    let line = reader.read_line().await?.to_vec();
                    if line.is_empty() {
                        break;
                    }
                    writer.write(&line)?;
                }
                io::Result::Ok(())
            }));
            Async::new(lab.flaky(client, faults))
        })
    };
    let replies = event_loop.block_on(client(connect, version, &REQUESTS)).unwrap();
    assert_eq!(replies, REQUESTS, "a request was lost");
    // Each pause is doubled at most once per connection without a reply, and restarts after a
    // success.
    let longest = 2 * SECOND * (1 << connections.get().min(5));
    assert!(lab.elapsed() < longest * connections.get(), "{:?}", lab.elapsed());
    servers.borrow_mut().clear();
}

#[test]
fn the_first_version_loses_a_request_when_a_connection_is_reset() {
    let ordinary = |lab: &Lab| requests_through_failures(lab, First, Faults::none());
    assert!(first_failure(0..20, Disorder::promised(), ordinary).is_none());
    let faults = Faults { reset: 16, ..Faults::mild() };
    let found = first_failure(0..100, Disorder::network(), |lab| {
        requests_through_failures(lab, First, faults);
    });
    let found = found.unwrap();
    assert!(found.message.contains("a request was lost"), "{found}");
}

#[test]
fn the_mended_version_survives_resets() {
    let faults = Faults { reset: 16, ..Faults::mild() };
    explore(0..200, Disorder::network(), |lab| requests_through_failures(lab, Mended, faults));
}
