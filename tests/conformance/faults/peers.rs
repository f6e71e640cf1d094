//! Peers that reset, half-close, stall, stay silent or send one byte at a time, all at once: each
//! is served correctly, and none affects the others.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use polyselect::{Backend, Event, EventLoop, Interest, Key, Next, Ready, Remote, WriteQueue};

use crate::event_loop::open as open_loop;
use crate::support::*;

cases! {
    a_peer_that_sends_single_bytes_gets_a_reply_to_each,
    a_half_closed_peer_gets_the_rest_of_the_answer,
    a_reset_is_an_error_of_one_connection,
    a_stalled_peer_delays_no_other,
    a_stalled_peer_is_not_read_from_without_bound,
}

#[derive(Default)]
struct State {
    /// The number of bytes queued for each connection.
    waiting: HashMap<Key, usize>,
    errors: Vec<io::ErrorKind>,
}

/// Serves an echo while `clients` run, and returns the number of connections left.
fn serve(
    backend: Backend,
    clients: impl FnOnce(SocketAddr, &Remote<State>) + Send + 'static,
) -> EventLoop<State> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut event_loop = open_loop(backend, State::default());
    event_loop.on_error(|event_loop, key, error| {
        event_loop.state.waiting.remove(&key);
        event_loop.state.errors.push(error.kind());
    });
    event_loop
        .accept(listener, |event_loop, conn, _| {
            let mut out = WriteQueue::with_high_water(HIGH);
            event_loop.register(conn, R, move |event_loop, conn, event| {
                echo(event_loop, conn, event, &mut out)
            })?;
            Ok(())
        })
        .unwrap();
    let remote = event_loop.remote().unwrap();
    let clients = thread::spawn(move || {
        clients(address, &remote);
        remote.stop().unwrap();
    });
    event_loop.run().unwrap();
    clients.join().unwrap();
    event_loop
}

const HIGH: usize = 10_000;
const CHUNK: usize = 4096;

fn echo(
    event_loop: &mut EventLoop<State>,
    mut conn: &TcpStream,
    event: Event,
    out: &mut WriteQueue,
) -> io::Result<Next> {
    let mut chunk = [0; CHUNK];
    // A readable event may be the end of the stream, which is reported again once all is sent.
    let mut has_ended = false;
    if event.ready.contains(Ready::READABLE) && !out.is_high() {
        match conn.read(&mut chunk)? {
            0 => has_ended = true,
            n => out.push(&chunk[..n]),
        }
    }
    let all_sent = out.flush(conn)?;
    if has_ended && all_sent {
        event_loop.state.waiting.remove(&event.key);
        return Ok(Next::Remove);
    }
    event_loop.state.waiting.insert(event.key, out.len());
    let mut interest = Interest::empty();
    interest.set(Interest::READABLE, !has_ended && !out.is_high());
    interest.set(Interest::WRITABLE, !all_sent);
    Ok(Next::Modify(interest))
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(SURELY)).unwrap();
    client.set_write_timeout(Some(SURELY)).unwrap();
    client.set_nodelay(true).unwrap();
    client
}

fn say(mut client: &TcpStream, text: &[u8]) {
    client.write_all(text).unwrap();
    let mut answer = vec![0; text.len()];
    client.read_exact(&mut answer).unwrap();
    assert!(answer == text);
}

fn rest(mut client: &TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    answer
}

fn a_peer_that_sends_single_bytes_gets_a_reply_to_each(backend: Backend) {
    let event_loop = serve(backend, |address, _| {
        let (slow, quick) = (connect(address), connect(address));
        for byte in 0..200_u8 {
            say(&slow, &[byte]);
            if byte % 10 == 0 {
                say(&quick, &[byte; 5000]);
            }
        }
        for client in [&slow, &quick] {
            client.shutdown(Shutdown::Write).unwrap();
            assert!(rest(client).is_empty());
        }
    });
    assert_eq!((event_loop.state.errors.len(), event_loop.len()), (0, 1));
}

fn a_half_closed_peer_gets_the_rest_of_the_answer(backend: Backend) {
    let event_loop = serve(backend, |address, _| {
        let clients: Vec<_> = (0..5_u8).map(|number| (number, connect(address))).collect();
        for (number, mut client) in clients.iter().map(|(number, client)| (*number, client)) {
            client.write_all(&[number; 3 * HIGH]).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        }
        for (number, client) in &clients {
            assert!(rest(client) == [*number; 3 * HIGH]);
        }
    });
    assert_eq!((event_loop.state.errors.len(), event_loop.len()), (0, 1));
}

fn a_reset_is_an_error_of_one_connection(backend: Backend) {
    let event_loop = serve(backend, |address, remote| {
        let stays = connect(address);
        for round in 0..20_u8 {
            let goes = connect(address);
            if round % 2 == 0 {
                say(&goes, b"hello");
            } else {
                (&goes).write_all(&[round; 50_000]).unwrap();
            }
            reset(goes);
            say(&stays, &[round]);
        }
        stays.shutdown(Shutdown::Write).unwrap();
        assert!(rest(&stays).is_empty());
        // A reset may be noticed later.
        while remote.call_and_wait(SURELY, |event_loop| event_loop.len()).unwrap() > 1 {}
    });
    let (errors, kinds) = (event_loop.state.errors, KINDS_OF_A_RESET);
    assert!(errors.iter().all(|error| kinds.contains(error)), "{errors:?}");
}

/// With and without being written to meanwhile.
const KINDS_OF_A_RESET: [io::ErrorKind; 3] =
    [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionAborted];

fn a_stalled_peer_delays_no_other(backend: Backend) {
    serve(backend, |address, _| {
        let (stalls, silent, good) = (connect(address), connect(address), connect(address));
        stalls.set_nonblocking(true).unwrap();
        for round in 0..50_u8 {
            // It requests data and reads none of it.
            let _ = (&stalls).write(&[round; 100_000]);
            say(&good, &[round; 2000]);
        }
        say(&silent, b"awake");
    });
}

fn a_stalled_peer_is_not_read_from_without_bound(backend: Backend) {
    serve(backend, |address, remote| {
        let stalls = connect(address);
        stalls.set_nonblocking(true).unwrap();
        let mut full = 0;
        while full < 20 {
            fill(&stalls);
            let waiting = remote.call_and_wait(SURELY, |event_loop| {
                event_loop.state.waiting.values().copied().max().unwrap_or(0)
            });
            let waiting = waiting.unwrap();
            assert!(waiting <= HIGH + CHUNK, "{waiting} bytes wait");
            full += u32::from(waiting > HIGH);
        }
    });
}
