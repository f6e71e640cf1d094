//! A chat: each line goes to all other clients, and a client that is silent for ten minutes is closed.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use polyselect::testing::{Disorder, Faults, Flaky, Lab, explore, first_failure};
use polyselect::{Event, EventLoop, Interest, Key, Next, TimerKey, WriteQueue};

use super::{First, Mended, Second, Version};

use crate::sockets::{Stream, stream_pair};

const IDLE: Duration = Duration::from_secs(10 * 60);
const MINUTE: Duration = Duration::from_secs(60);

struct Chat {
    version: Version,
    clients: BTreeMap<Key, Client>,
}

struct Client {
    idle: TimerKey,
    /// The beginning of a line.
    line: Vec<u8>,
    queue: WriteQueue,
}

type Conn = Flaky<Stream>;

fn join(event_loop: &mut EventLoop<Chat>, conn: Conn) -> Key {
    let key = event_loop.register(conn, Interest::READABLE, on_event).unwrap();
    let client = Client {
        idle: close_when_idle(event_loop, key),
        line: Vec::new(),
        queue: WriteQueue::new(),
    };
    event_loop.state.clients.insert(key, client);
    key
}

fn close_when_idle(event_loop: &mut EventLoop<Chat>, key: Key) -> TimerKey {
    event_loop.call_later(IDLE, move |event_loop| {
        if event_loop.state.clients.remove(&key).is_some() {
            event_loop.unregister(key).unwrap();
        }
    })
}

fn on_event(event_loop: &mut EventLoop<Chat>, mut conn: &Conn, event: Event) -> io::Result<Next> {
    if event.is_writable() {
        let client = event_loop.state.clients.get_mut(&event.key).expect("has not left");
        return Ok(match client.queue.flush(&mut conn)? {
            true => Next::Modify(Interest::READABLE),
            false => Next::Keep,
        });
    }
    let mut buffer = [0; 512];
    let n = match conn.read(&mut buffer) {
        Ok(n) => n,
        Err(error) if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => {
            return Ok(Next::Keep);
        }
        Err(_) => 0,
    };
    let client = event_loop.state.clients.get_mut(&event.key).expect("has not left");
    let idle = client.idle;
    if n == 0 {
        event_loop.state.clients.remove(&event.key);
        event_loop.cancel(idle).ok();
        return Ok(Next::Remove);
    }
    let text = match event_loop.state.version {
        First | Second => buffer[..n].to_vec(),
        Mended => {
            client.line.extend_from_slice(&buffer[..n]);
            let end = client.line.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            client.line.drain(..end).collect()
        }
    };
    if event_loop.state.version != First {
        event_loop.cancel(idle).ok();
    }
    let idle = close_when_idle(event_loop, event.key);
    event_loop.state.clients.get_mut(&event.key).expect("has not left").idle = idle;
    send_to_others(event_loop, event.key, &text)?;
    Ok(Next::Keep)
}

#[allow(clippy::unused_io_amount)] // The mistake of the first versions.
fn send_to_others(event_loop: &mut EventLoop<Chat>, from: Key, text: &[u8]) -> io::Result<()> {
    let others: Vec<_> =
        event_loop.state.clients.keys().copied().filter(|&it| it != from).collect();
    for key in others {
        let (chat, sources) = event_loop.parts();
        let mut conn: &Conn = sources.get(key).expect("has not left");
        match chat.version {
            First | Second => {
                conn.write(text).ok();
            }
            Mended => {
                let queue = &mut chat.clients.get_mut(&key).expect("has not left").queue;
                queue.push(text);
                event_loop.modify(key, Interest::READABLE | Interest::WRITABLE)?;
            }
        }
    }
    Ok(())
}

/// Two clients that send every nine minutes for an hour, and one that listens; each must get each
/// line whole.
fn conversation(lab: &Lab, version: Version, faults: Faults) {
    let mut event_loop = EventLoop::new(Chat { version, clients: BTreeMap::new() }).unwrap();
    let mut peers = Vec::new();
    for _ in 0..3 {
        let (peer, conn) = stream_pair().unwrap();
        conn.set_nonblocking(true).unwrap();
        peer.set_nonblocking(true).unwrap();
        join(&mut event_loop, lab.flaky(conn, faults));
        peers.push(peer);
    }
    let mut expected = vec![Vec::new(); 3];
    for round in 0..6 {
        #[allow(clippy::needless_range_loop)] // The number is part of the message.
        for talker in 0..2 {
            let line = format!("{talker} says {round} to the whole table\n");
            let is_open = peers[talker].write_all(line.as_bytes()).is_ok();
            assert!(is_open, "a client that talks was closed");
            for (peer, expected) in expected.iter_mut().enumerate() {
                if peer != talker {
                    expected.push(line.clone());
                }
            }
        }
        let end = event_loop.now() + 9 * MINUTE;
        while event_loop.now() < end {
            event_loop.turn(end - event_loop.now()).unwrap();
        }
        if round == 0 {
            assert_eq!(event_loop.state.clients.len(), 3);
        }
        // The listener is silent, and closed after ten minutes.
        expected[2].truncate(2 * (1 + usize::from(round > 0)));
    }
    assert_eq!(event_loop.state.clients.len(), 2, "a client that talks was closed");
    for (peer, mut expected) in peers.iter_mut().zip(expected) {
        let mut text = String::new();
        let _ = peer.read_to_string(&mut text);
        let mut lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
        lines.sort();
        expected.sort();
        assert_eq!(lines, expected, "a line was lost or torn");
    }
}

#[test]
fn the_first_version_closes_clients_that_talk_which_takes_no_disorder_to_see() {
    let found =
        first_failure(0..1, Disorder::none(), |lab| conversation(lab, First, Faults::none()));
    let found = found.unwrap();
    assert!(found.message.contains("a client that talks was closed"), "{found}");
}

#[test]
fn the_second_version_tears_lines_when_reads_and_writes_are_short() {
    let ordinary = |lab: &Lab| conversation(lab, Second, Faults::none());
    assert!(first_failure(0..20, Disorder::none(), ordinary).is_none());
    let found =
        first_failure(0..20, Disorder::network(), |lab| conversation(lab, Second, Faults::mild()));
    let found = found.unwrap();
    assert!(found.message.contains("a line was lost or torn"), "{found}");
}

#[test]
fn the_mended_version_survives_faults() {
    explore(0..200, Disorder::network(), |lab| conversation(lab, Mended, Faults::mild()));
}
