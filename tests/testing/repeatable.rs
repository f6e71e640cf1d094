//! The same seed is the same run, on every backend that has the same capabilities.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use polyselect::testing::{Disorder, Faults, Flaky, Lab};
use polyselect::{Backend, EventLoop, Interest, Next, Watch, asyncio, asyncio::Async};

use crate::sockets::Stream;

const MS: Duration = Duration::from_millis(1);
const CLIENTS: usize = 5;
const MESSAGES: usize = 4;
const LEVELS: [Disorder; 4] =
    [Disorder::none(), Disorder::promised(), Disorder::network(), Disorder::beyond()];

fn blocks(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Reads and writes until both would block; returns whether the peer has closed.
fn echo(mut conn: &Flaky<Stream>, output: &mut VecDeque<u8>) -> bool {
    let mut buffer = [0; 64];
    loop {
        match conn.read(&mut buffer) {
            Ok(0) => return true,
            Ok(read) => output.extend(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if blocks(&error) => break,
            Err(error) => panic!("{error}"),
        }
    }
    while !output.is_empty() {
        match conn.write(output.make_contiguous()) {
            Ok(written) => drop(output.drain(..written)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if blocks(&error) => break,
            Err(error) => panic!("{error}"),
        }
    }
    false
}

/// A connection, over a wire where the lab has them.
#[cfg(unix)]
fn connection(lab: &Lab) -> (Stream, Stream, polyselect::testing::Wire) {
    lab.stream_pair(polyselect::testing::Link::new().latency(MS)).unwrap()
}

#[cfg(windows)]
fn connection(_: &Lab) -> (Stream, Stream, ()) {
    let (left, right) = crate::sockets::stream_pair().unwrap();
    for stream in [&left, &right] {
        stream.set_nonblocking(true).unwrap();
    }
    (left, right, ())
}

/// An echo server with callbacks, and its clients.
fn callbacks(lab: &Lab, backend: Backend, mode: fn(Interest) -> Watch) {
    let mut event_loop = EventLoop::builder().backend(backend).lab(lab).build(0_usize).unwrap();
    let both = Interest::READABLE | Interest::WRITABLE;
    let is_edge = mode(both).is_edge();
    for number in 0..CLIENTS {
        let (client, server, _wire) = connection(lab);
        let mut output = VecDeque::new();
        let first = if is_edge { both } else { Interest::READABLE };
        event_loop
            .register(lab.flaky(server, Faults::mild()), mode(first), move |_, conn, _| {
                if echo(conn, &mut output) {
                    return Ok(Next::Remove);
                }
                let is_writing = is_edge || !output.is_empty();
                Ok(Next::Modify(if is_writing { both } else { Interest::READABLE }))
            })
            .unwrap();
        let mut sender = client.try_clone().unwrap();
        for message in 0..MESSAGES {
            let text = vec![b'a'; 10 + number];
            let mut sender = sender.try_clone().unwrap();
            event_loop.call_later(10 * MS * message as u32, move |_loop| {
                sender.write_all(&text).unwrap();
            });
        }
        let mut left = MESSAGES * (10 + number);
        event_loop
            .register(client, Interest::READABLE, move |event_loop, mut client, _event| {
                match client.read(&mut [0; 16]) {
                    Ok(read) => left -= read,
                    Err(error) if blocks(&error) => {}
                    Err(error) => panic!("{error}"),
                }
                if left > 0 {
                    return Ok(Next::Keep);
                }
                event_loop.state += 1;
                Ok(Next::Remove)
            })
            .unwrap();
        sender.flush().unwrap();
    }
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, CLIENTS);
}

fn level(lab: &Lab, backend: Backend) {
    callbacks(lab, backend, Watch::from);
}

fn edge(lab: &Lab, backend: Backend) {
    callbacks(lab, backend, Interest::edge);
}

fn oneshot(lab: &Lab, backend: Backend) {
    callbacks(lab, backend, Interest::oneshot);
}

/// An echo server and its clients as tasks.
fn tasks(lab: &Lab, backend: Backend) {
    let mut event_loop = EventLoop::builder().backend(backend).lab(lab).build(()).unwrap();
    let work = async {
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let (client, server, _wire) = connection(lab);
            let server = Async::new(lab.flaky(server, Faults::mild())).unwrap();
            asyncio::spawn(async move {
                let mut buffer = [0; 64];
                loop {
                    let read = server.read(&mut buffer).await.unwrap();
                    if read == 0 {
                        break;
                    }
                    server.write_all(&buffer[..read]).await.unwrap();
                }
            })
            .detach();
            let client = Async::new(client).unwrap();
            clients.push(asyncio::spawn(async move {
                for message in 0..MESSAGES {
                    asyncio::sleep(MS * message as u32).await;
                    let text = vec![b'a'; 10 + number];
                    client.write_all(&text).await.unwrap();
                    let mut answer = vec![0; text.len()];
                    asyncio::timeout(Duration::from_secs(60), client.read_exact(&mut answer))
                        .await
                        .unwrap()
                        .unwrap();
                    assert_eq!(answer, text);
                }
            }));
        }
        for client in clients {
            client.await.unwrap();
        }
    };
    event_loop.block_on(work).unwrap();
    event_loop.run().unwrap();
}

/// Compares the runs of a program on backends, and the run on one of them with its repetition.
fn compare(program: fn(&Lab, Backend), backends: impl Fn(Backend) -> bool) {
    let backends: Vec<_> = Backend::available().filter(|&it| backends(it)).collect();
    let seeds = std::env::var("POLYSELECT_SEEDS").map_or(10, |seeds| seeds.parse().unwrap());
    for disorder in LEVELS {
        for seed in 0..seeds {
            let run = |backend| {
                let lab = Lab::new(seed, disorder);
                program(&lab, backend);
                (lab.fingerprint(), lab.log())
            };
            let (expected, log) = run(backends[0]);
            for &backend in backends.iter().chain([&backends[0]]) {
                let (fingerprint, other) = run(backend);
                let differs =
                    log.lines().zip(other.lines()).position(|(left, right)| left != right);
                let around = |log: &str| {
                    let first = differs.unwrap_or(log.lines().count()).saturating_sub(8);
                    log.lines().skip(first).take(12).collect::<Vec<_>>().join("\n")
                };
                assert_eq!(
                    fingerprint,
                    expected,
                    "seed {seed}, {disorder:?}: {}:\n{}\n{backend}:\n{}",
                    backends[0],
                    around(&log),
                    around(&other)
                );
            }
        }
    }
}

#[test]
fn callbacks_of_level_triggered_sources_run_alike_on_every_backend() {
    compare(level, |_backend| true);
}

#[test]
fn callbacks_of_oneshot_sources_run_alike_on_every_backend_that_has_them() {
    compare(oneshot, |backend| backend.capabilities().oneshot);
}

#[test]
fn callbacks_of_edge_triggered_sources_run_alike_on_every_backend_that_has_them() {
    compare(edge, |backend| backend.capabilities().edge);
}

#[test]
fn tasks_run_alike_on_every_backend_with_edges() {
    compare(tasks, |backend| backend.capabilities().edge);
}

#[test]
fn tasks_run_alike_on_every_backend_without_edges() {
    compare(tasks, |backend| !backend.capabilities().edge);
}
