//! Sources for tasks: no task waits for data that is there, and none is woken for data that is not.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use polyselect::asyncio::{self, Async};
use polyselect::{Backend, EventLoop, Selector};

use super::{MORE_THAN_FITS, wait_in_vain};
use crate::event_loop::open;
use crate::support::*;

cases! {
    a_read_waits_for_data_and_for_nothing_else in virtual time,
    readable_returns_while_data_is_left,
    readable_waits_after_the_data_was_read in virtual time,
    a_reader_and_a_writer_of_one_source_are_both_woken,
    all_waiters_of_one_direction_are_woken,
    megabytes_pass_both_ways_at_once,
    data_and_end_at_once_are_both_seen,
    a_reset_ends_reading_and_writing,
    a_source_that_is_always_ready_starves_no_task,
    unread_data_without_a_reader_costs_no_time in virtual time,
    dropping_a_source_ends_its_registration,
    dropping_the_last_of_two_handles_ends_the_registration in virtual time,
    a_source_can_be_taken_out_and_used_elsewhere in virtual time,
    another_loop_rejects_a_source_that_is_taken in virtual time,
    a_source_survives_its_loop in virtual time,
    a_cancelled_wait_loses_nothing,
    a_source_moves_with_its_loop_to_another_backend in virtual time,
    a_rejected_registration_is_the_error_of_the_wait in virtual time,
    datagrams_are_sent_and_received,
    connecting_succeeds_and_fails,
    #[cfg(unix)]
    a_forked_child_goes_on_after_rebuilding,
    #[cfg(unix)]
    a_storm_of_signals_ends_no_wait_for_readiness,
}

fn asynchronous_pair() -> (Async<TcpStream>, TcpStream) {
    let (left, right) = pair();
    (Async::new(left).unwrap(), right)
}

/// Runs a task that is not ready up to its wait.
async fn settle() {
    for _ in 0..3 {
        asyncio::yield_now().await;
    }
}

fn a_read_waits_for_data_and_for_nothing_else(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = asynchronous_pair();
    let reader = event_loop.spawn(async move {
        let mut buffer = [0; 5];
        left.read_exact(&mut buffer).await.unwrap();
        buffer
    });
    event_loop.turn(A_WHILE).unwrap();
    let polls = event_loop.stats().polls;
    event_loop.turn(A_WHILE).unwrap();
    assert!(!reader.is_finished());
    // The task is polled again only after a spurious edge.
    assert!(event_loop.stats().polls == polls || disorder::is_asked_for());
    right.write_all(b"hello").unwrap();
    assert_eq!(&event_loop.block_on(reader).unwrap().unwrap(), b"hello");
}

fn readable_returns_while_data_is_left(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = asynchronous_pair();
    right.write_all(b"12345").unwrap();
    let reading = async {
        for expected in b"12345" {
            left.readable().await.unwrap();
            let mut byte = [0];
            assert_eq!(left.get_ref().read(&mut byte).unwrap(), 1);
            assert_eq!(byte[0], *expected);
        }
        left.writable().await.unwrap();
        left.writable().await.unwrap();
    };
    event_loop.block_on(asyncio::timeout(SURELY, reading)).unwrap().unwrap();
}

fn readable_waits_after_the_data_was_read(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = asynchronous_pair();
    for _ in 0..3 {
        right.write_all(b"!").unwrap();
        let waiting = async {
            left.readable().await.unwrap();
            assert_eq!(left.get_ref().read(&mut [0; 8]).unwrap(), 1);
            wait_in_vain(&left).await;
        };
        event_loop.block_on(waiting).unwrap();
    }
}

fn a_reader_and_a_writer_of_one_source_are_both_woken(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, right) = asynchronous_pair();
    fill_up(left.get_ref());
    let reader = left.clone();
    let reader = event_loop.spawn(async move { reader.read_exact(&mut [0; 4]).await.unwrap() });
    // Much more than the little room that an acknowledgement may make in a full socket.
    let more = vec![0; 1 << 20];
    let writer = event_loop.spawn(async move { left.write_all(&more).await.unwrap() });
    event_loop.block_on(settle()).unwrap();
    event_loop.turn(A_WHILE).unwrap();
    assert!(!reader.is_finished());
    (&right).write_all(b"data").unwrap();
    event_loop.block_on(reader).unwrap().unwrap();
    assert!(!writer.is_finished());
    let draining = thread::spawn(move || {
        right.set_nonblocking(false).unwrap();
        io::copy(&mut &right, &mut io::sink()).unwrap()
    });
    event_loop.block_on(writer).unwrap().unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
    assert!(draining.join().unwrap() > 1 << 20);
}

fn all_waiters_of_one_direction_are_woken(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = asynchronous_pair();
    let readers: Vec<_> = (0..5)
        .map(|_| {
            let left = left.clone();
            event_loop.spawn(async move { left.read_with(|mut left| left.read(&mut [0])).await })
        })
        .collect();
    event_loop.block_on(settle()).unwrap();
    right.write_all(b"12345").unwrap();
    for reader in readers {
        assert_eq!(event_loop.block_on(reader).unwrap().unwrap().unwrap(), 1);
    }
}

fn megabytes_pass_both_ways_at_once(backend: Backend) {
    const SIZE: usize = 3_000_000;
    fn content(from: u8) -> impl Iterator<Item = u8> {
        (0..SIZE).map(move |place| (place % 251) as u8 ^ from)
    }
    async fn send(side: Async<TcpStream>, from: u8) {
        let bytes: Vec<_> = content(from).collect();
        side.write_all(&bytes).await.unwrap();
    }
    async fn receive(side: Async<TcpStream>, from: u8) {
        let mut bytes = vec![0; SIZE];
        side.read_exact(&mut bytes).await.unwrap();
        assert!(bytes.into_iter().eq(content(from)));
    }

    let mut event_loop = open(backend, ());
    let (left, right) = pair();
    let (left, right) = (Async::new(left).unwrap(), Async::new(right).unwrap());
    let tasks = [
        event_loop.spawn(send(left.clone(), 1)),
        event_loop.spawn(send(right.clone(), 2)),
        event_loop.spawn(receive(left, 2)),
        event_loop.spawn(receive(right, 1)),
    ];
    for task in tasks {
        event_loop.block_on(asyncio::timeout(SURELY, task)).unwrap().unwrap().unwrap();
    }
}

fn data_and_end_at_once_are_both_seen(backend: Backend) {
    let mut event_loop = open(backend, ());
    for is_waiting in [false, true] {
        let (left, mut right) = asynchronous_pair();
        let reader = event_loop.spawn(async move {
            let (mut buffer, mut all) = ([0; 64], Vec::new());
            loop {
                match left.read(&mut buffer).await.unwrap() {
                    0 => return all,
                    n => all.extend_from_slice(&buffer[..n]),
                }
            }
        });
        if is_waiting {
            event_loop.block_on(settle()).unwrap();
        }
        right.write_all(b"goodbye").unwrap();
        right.shutdown(Shutdown::Write).unwrap();
        // Over loopback both have arrived by now, and are one event.
        let read = asyncio::timeout(SURELY, reader);
        assert_eq!(event_loop.block_on(read).unwrap().unwrap().unwrap(), b"goodbye");
    }
}

fn a_reset_ends_reading_and_writing(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, right) = asynchronous_pair();
    fill_up(left.get_ref());
    let reader = left.clone();
    let reader = event_loop.spawn(async move { reader.read(&mut [0]).await });
    let writer = event_loop.spawn(async move { left.write_all(&vec![0; MORE_THAN_FITS]).await });
    event_loop.block_on(settle()).unwrap();
    reset(right);
    let ended = async { (reader.await.unwrap(), writer.await.unwrap()) };
    let (read, written) = event_loop.block_on(asyncio::timeout(SURELY, ended)).unwrap().unwrap();
    // The first waiter gets the error, the other the end of the stream.
    assert!(read.is_err() || written.is_err(), "{read:?} {written:?}");
    assert!(!matches!(read, Ok(1..)) && written.is_err());
}

fn a_source_that_is_always_ready_starves_no_task(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = asynchronous_pair();
    let (source, writer) = (
        Rc::new(Cell::new(0_u64)),
        thread::spawn(move || {
            right.set_nonblocking(false).unwrap();
            while right.write(&[1; 65536]).is_ok() {}
        }),
    );
    let reader = event_loop.spawn({
        let read = Rc::clone(&source);
        async move {
            // One byte at a time, so that there is always another.
            while left.read(&mut [0]).await.unwrap() > 0 {
                read.set(read.get() + 1);
            }
        }
    });
    let sleeping = async {
        while source.get() == 0 {
            asyncio::yield_now().await;
        }
        let before = source.get();
        asyncio::sleep(A_WHILE).await;
        source.get() - before
    };
    let read = event_loop.block_on(asyncio::timeout(SURELY, sleeping)).unwrap().unwrap();
    assert!(read > 0 && !reader.is_finished());
    drop(reader);
    event_loop.turn(Duration::ZERO).unwrap();
    writer.join().unwrap();
}

fn unread_data_without_a_reader_costs_no_time(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = asynchronous_pair();
    right.write_all(b"123").unwrap();
    event_loop.block_on(async { left.read_exact(&mut [0]).await.unwrap() }).unwrap();
    let reading = asyncio::timeout(A_WHILE, async {
        left.read_exact(&mut [0; 2]).await.unwrap();
        left.read(&mut [0; 8]).await.unwrap();
    });
    event_loop.block_on(reading).unwrap().unwrap_err();
    right.write_all(b"more than was requested").unwrap();
    event_loop.call_later(10 * A_WHILE, EventLoop::stop);
    let turns = event_loop.stats().turns;
    event_loop.run().unwrap();
    let turns = event_loop.stats().turns - turns;
    // Each signal and each wake may add one; a loop that spins makes thousands.
    assert!(turns < 50, "{turns} iterations");
}

fn dropping_a_source_ends_its_registration(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, right) = asynchronous_pair();
    let waiting = event_loop.spawn(async move { left.read(&mut [0]).await.unwrap() });
    event_loop.block_on(settle()).unwrap();
    drop(waiting);
    event_loop.turn(Duration::ZERO).unwrap();
    wait_for_data(&right);
    assert_eq!((&right).read(&mut [0]).unwrap(), 0);
    // Descriptors are reused at once, and no state of the old ones is left.
    let (left, mut right) = asynchronous_pair();
    right.write_all(b"!").unwrap();
    let read = asyncio::timeout(SURELY, async { left.read(&mut [0; 4]).await.unwrap() });
    assert_eq!(event_loop.block_on(read).unwrap(), Ok(1));
}

fn dropping_the_last_of_two_handles_ends_the_registration(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = asynchronous_pair();
    let other = left.clone();
    event_loop.block_on(wait_in_vain(&left)).unwrap();
    drop(left);
    right.write_all(b"!").unwrap();
    assert_eq!(event_loop.block_on(other.read(&mut [0; 4])).unwrap().unwrap(), 1);
    event_loop.block_on(asyncio::timeout(A_WHILE, other.read(&mut [0; 4]))).unwrap().unwrap_err();
    drop(other);
    event_loop.turn(Duration::ZERO).unwrap();
    wait_for_data(&right);
    assert_eq!(right.read(&mut [0]).unwrap(), 0);
}

fn a_source_can_be_taken_out_and_used_elsewhere(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = asynchronous_pair();
    event_loop.block_on(wait_in_vain(&left)).unwrap();
    let other = left.clone();
    let error = event_loop.block_on(left.into_inner()).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    let left = event_loop.block_on(other.into_inner()).unwrap().unwrap();
    let mut selector = open_selector(backend);
    let key = selector.register(left, R, ()).unwrap();
    right.write_all(b"!").unwrap();
    wait_until(&mut selector, key, polyselect::Ready::READABLE);
}

fn open_selector(backend: Backend) -> Selector<TcpStream> {
    crate::support::open(backend)
}

fn another_loop_rejects_a_source_that_is_taken(backend: Backend) {
    let (mut first, mut second) = (open(backend, ()), open(backend, ()));
    let (left, right) = asynchronous_pair();
    fill_up(left.get_ref());
    first.block_on(wait_in_vain(&left)).unwrap();
    let error = second.block_on(left.writable()).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    drop(right);
}

fn a_source_survives_its_loop(backend: Backend) {
    let (left, mut right) = asynchronous_pair();
    for _ in 0..2 {
        let mut event_loop = open(backend, ());
        event_loop.block_on(wait_in_vain(&left)).unwrap();
        right.write_all(b"!").unwrap();
        let read = asyncio::timeout(SURELY, async { left.read(&mut [0; 4]).await.unwrap() });
        assert_eq!(event_loop.block_on(read).unwrap(), Ok(1));
    }
}

fn a_cancelled_wait_loses_nothing(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = asynchronous_pair();
    let other = left.clone();
    let given_up = event_loop.spawn(async move { other.read(&mut [0; 8]).await.unwrap() });
    event_loop.block_on(settle()).unwrap();
    drop(given_up);
    right.write_all(b"for another").unwrap();
    let mut buffer = [0; 11];
    let read = asyncio::timeout(SURELY, left.read_exact(&mut buffer));
    event_loop.block_on(read).unwrap().unwrap().unwrap();
    assert_eq!(&buffer, b"for another");
}

fn a_source_moves_with_its_loop_to_another_backend(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = asynchronous_pair();
    let reader = event_loop.spawn(async move {
        let mut all = Vec::new();
        for _ in 0..Backend::available().count() {
            let mut buffer = [0; 8];
            let n = left.read(&mut buffer).await.unwrap();
            all.extend_from_slice(&buffer[..n]);
        }
        all
    });
    let mut expected = Vec::new();
    for (number, other) in Backend::available().enumerate() {
        event_loop.block_on(settle()).unwrap();
        event_loop.rebuild_with(other).unwrap();
        event_loop.turn(A_WHILE).unwrap();
        assert!(!reader.is_finished());
        right.write_all(&[number as u8]).unwrap();
        expected.push(number as u8);
        let deadline = now() + SURELY;
        let polls = event_loop.stats().polls;
        while event_loop.stats().polls == polls {
            event_loop.turn(SURELY).unwrap();
            assert!(now() < deadline);
        }
    }
    assert_eq!(event_loop.block_on(reader).unwrap().unwrap(), expected);
}

fn a_rejected_registration_is_the_error_of_the_wait(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, _right) = pair();
    let left = Rc::new(left);
    let (first, second) = (Async::new(Rc::clone(&left)).unwrap(), Async::new(left).unwrap());
    event_loop.block_on(wait_in_vain(&first)).unwrap();
    // Its descriptor is registered already.
    let result = event_loop.block_on(asyncio::timeout(SURELY, second.readable())).unwrap();
    assert_eq!(result.unwrap().unwrap_err().kind(), ErrorKind::AlreadyExists);
    drop(first);
    event_loop.turn(Duration::ZERO).unwrap();
    event_loop.block_on(wait_in_vain(&second)).unwrap();
}

fn datagrams_are_sent_and_received(backend: Backend) {
    let mut event_loop = open(backend, ());
    let bind = || Async::new(UdpSocket::bind(("127.0.0.1", 0)).unwrap()).unwrap();
    let (server, client) = (bind(), bind());
    let address = server.get_ref().local_addr().unwrap();
    let echo = event_loop.spawn(async move {
        let mut buffer = [0; 64];
        loop {
            let (n, from) = server.recv_from(&mut buffer).await.unwrap();
            server.send_to(&buffer[..n], from).await.unwrap();
        }
    });
    let asking = async {
        for number in 0..100_u8 {
            client.send_to(&[number; 10], address).await.unwrap();
            let mut buffer = [0; 64];
            let (n, from) = client.recv_from(&mut buffer).await.unwrap();
            assert_eq!((&buffer[..n], from), (&[number; 10][..], address));
        }
    };
    event_loop.block_on(asyncio::timeout(SURELY, asking)).unwrap().unwrap();
    drop(echo);
}

fn connecting_succeeds_and_fails(backend: Backend) {
    let mut event_loop = open(backend, ());
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let conn = event_loop.block_on(asyncio::timeout(SURELY, Async::connect(address)));
    let conn = conn.unwrap().unwrap().unwrap();
    let (mut server, from) = listener.accept().unwrap();
    assert_eq!(from, conn.get_ref().local_addr().unwrap());
    server.write_all(b"hello").unwrap();
    let mut text = [0; 5];
    event_loop.block_on(conn.read_exact(&mut text)).unwrap().unwrap();
    assert_eq!(&text, b"hello");
    let (_closed, address) = closed_port();
    let refused = event_loop.block_on(asyncio::timeout(SURELY, Async::connect(address)));
    assert_eq!(refused.unwrap().unwrap().unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[cfg(unix)]
fn a_forked_child_goes_on_after_rebuilding(backend: Backend) {
    use crate::support::process::fork;

    let mut event_loop = open(backend, ());
    let (left, mut right) = asynchronous_pair();
    let reader = event_loop.spawn(async move { left.read(&mut [0; 4]).await.unwrap() });
    event_loop.block_on(settle()).unwrap();
    let child = fork(|| {
        event_loop.rebuild().unwrap();
        right.write_all(b"!").unwrap();
        assert_eq!(event_loop.block_on(reader).unwrap().unwrap(), 1);
    });
    child.join();
}

/// On Linux, `poll` without a timeout returns `EINTR` if a signal is pending and nothing is ready.
#[cfg(unix)]
fn a_storm_of_signals_ends_no_wait_for_readiness(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = asynchronous_pair();
    event_loop.block_on(wait_in_vain(&left)).unwrap();
    let _storm = process::Storm::every(Duration::ZERO);
    for _ in 0..20_000 {
        right.write_all(b"!").unwrap();
        event_loop.turn(SURELY).unwrap();
        // The loop does not see this read, so it queries the kernel before the next wait.
        assert_eq!(left.get_ref().read(&mut [0]).unwrap(), 1);
        let readable =
            event_loop.block_on(futures_lite::future::poll_once(left.readable())).unwrap();
        readable.unwrap_or(Ok(())).unwrap();
    }
}
