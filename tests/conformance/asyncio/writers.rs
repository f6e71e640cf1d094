//! Writers that are dropped, cancelled and aborted with queued bytes: the loop sends them up to a
//! time limit.

use std::future::pending;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use polyselect::asyncio::{self, Async};
use polyselect::{Backend, EventLoop};

use super::MORE_THAN_FITS;
use crate::event_loop::open;
use crate::support::*;

cases! {
    a_dropped_writer_gives_up_when_its_time_is_up in virtual time,
    a_writer_of_a_cancelled_task_gives_up_when_its_time_is_up in virtual time,
    a_dropped_writer_without_time_gives_up_immediately in virtual time,
    a_dropped_writer_that_is_read_from_in_time_loses_nothing,
    a_dropped_loop_resets_the_connection_of_a_dropped_writer,
    a_dropped_loop_resets_the_connection_of_a_writer_whose_task_lives,
    a_dropped_loop_resets_the_connection_of_a_writer_that_is_closing,
    a_writer_that_outlives_its_loop_resets_the_connection_when_it_is_dropped,
    bytes_written_outside_a_task_end_with_a_reset_when_the_writer_is_dropped,
    abort_gives_up_what_is_queued in virtual time,
    abort_ends_the_waits_of_other_handles,
    abort_resets_a_connection_without_queued_bytes,
}

type Writer = asyncio::StreamWriter<TcpStream>;

fn owing(event_loop: &mut EventLoop, limit: Duration) -> (Writer, TcpStream) {
    let (left, right) = pair();
    let (_reader, mut writer) = Async::new(left).unwrap().split();
    writer.set_linger(limit);
    event_loop.block_on(async { writer.write(&vec![7; MORE_THAN_FITS]).unwrap() }).unwrap();
    right.set_nonblocking(false).unwrap();
    right.set_read_timeout(Some(SURELY)).unwrap();
    (writer, right)
}

/// Runs until nothing is left, although the peer reads nothing; then the peer gets a reset.
fn run_ends_with_a_reset(event_loop: &mut EventLoop, peer: TcpStream) {
    event_loop.run().unwrap();
    expect_reset(peer);
}

fn expect_reset(mut peer: TcpStream) {
    let mut got = Vec::new();
    let error = peer.read_to_end(&mut got).expect_err("this is not the end of a whole message");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(got.len() < MORE_THAN_FITS);
}

fn a_dropped_writer_gives_up_when_its_time_is_up(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (writer, peer) = owing(&mut event_loop, A_WHILE);
    // The time limit starts at the drop.
    event_loop.block_on(asyncio::sleep(2 * A_WHILE)).unwrap();
    assert_eq!(event_loop.stats().tasks, 1);
    let start = now();
    drop(writer);
    run_ends_with_a_reset(&mut event_loop, peer);
    assert!((A_WHILE..SURELY).contains(&(now() - start)));
}

fn a_writer_of_a_cancelled_task_gives_up_when_its_time_is_up(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (mut writer, peer) = owing(&mut event_loop, A_WHILE);
    let task = event_loop.spawn(async move { writer.flush().await });
    event_loop.turn(Duration::ZERO).unwrap();
    drop(task);
    run_ends_with_a_reset(&mut event_loop, peer);
}

fn a_dropped_writer_without_time_gives_up_immediately(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (writer, peer) = owing(&mut event_loop, Duration::ZERO);
    drop(writer);
    run_ends_with_a_reset(&mut event_loop, peer);
}

fn a_dropped_writer_that_is_read_from_in_time_loses_nothing(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (writer, mut peer) = owing(&mut event_loop, SURELY);
    drop(writer);
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap()
    });
    event_loop.run().unwrap();
    assert_eq!(reading.join().unwrap(), MORE_THAN_FITS);
}

/// Expects a reset and one warning, which names the number of bytes.
fn expect_reset_and_warning(peer: TcpStream) {
    expect_reset(peer);
    let records = take_records();
    let [warning] = &records[..] else { panic!("{records:?}") };
    assert!(warning.starts_with("WARN: a writer gives up "), "{warning}");
}

fn a_dropped_loop_resets_the_connection_of_a_dropped_writer(backend: Backend) {
    keep_records();
    let mut event_loop = open(backend, ());
    let (writer, peer) = owing(&mut event_loop, SURELY);
    drop(writer);
    drop(event_loop);
    expect_reset_and_warning(peer);
}

fn a_dropped_loop_resets_the_connection_of_a_writer_whose_task_lives(backend: Backend) {
    keep_records();
    let mut event_loop = open(backend, ());
    let (writer, peer) = owing(&mut event_loop, SURELY);
    let living = async move {
        let _writer = writer;
        pending::<()>().await;
    };
    event_loop.spawn(living).detach();
    event_loop.turn(Duration::ZERO).unwrap();
    drop(event_loop);
    expect_reset_and_warning(peer);
}

fn a_dropped_loop_resets_the_connection_of_a_writer_that_is_closing(backend: Backend) {
    keep_records();
    let mut event_loop = open(backend, ());
    let (writer, peer) = owing(&mut event_loop, SURELY);
    event_loop.spawn(writer.close()).detach();
    event_loop.turn(Duration::ZERO).unwrap();
    drop(event_loop);
    expect_reset_and_warning(peer);
}

fn a_writer_that_outlives_its_loop_resets_the_connection_when_it_is_dropped(backend: Backend) {
    keep_records();
    let mut event_loop = open(backend, ());
    let (writer, peer) = owing(&mut event_loop, SURELY);
    drop(event_loop);
    assert!(take_records().is_empty(), "another loop may send them");
    drop(writer);
    expect_reset_and_warning(peer);
}

fn bytes_written_outside_a_task_end_with_a_reset_when_the_writer_is_dropped(_: Backend) {
    keep_records();
    let (left, right) = pair();
    let (_reader, mut writer) = Async::new(left).unwrap().split();
    writer.write(&vec![7; MORE_THAN_FITS]).unwrap_err();
    drop((_reader, writer));
    right.set_nonblocking(false).unwrap();
    expect_reset_and_warning(right);
}

fn abort_gives_up_what_is_queued(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (writer, peer) = owing(&mut event_loop, Duration::MAX);
    writer.abort();
    run_ends_with_a_reset(&mut event_loop, peer);
}

fn abort_ends_the_waits_of_other_handles(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, _right) = pair();
    let left = Async::new(left).unwrap();
    let (_reader, writer) = left.clone().split();
    let reading = left.clone();
    let reader = event_loop.spawn(async move { reading.read(&mut [0]).await });
    for _ in 0..3 {
        event_loop.turn(Duration::ZERO).unwrap();
    }
    writer.abort();
    let read = event_loop.block_on(asyncio::timeout(SURELY, reader)).unwrap().expect("it ends");
    assert_eq!(read.unwrap().unwrap_err().kind(), ErrorKind::ConnectionAborted);
    let later = event_loop.block_on(asyncio::timeout(SURELY, left.read(&mut [0]))).unwrap();
    assert_eq!(later.expect("it ends").unwrap_err().kind(), ErrorKind::ConnectionAborted);
}

fn abort_resets_a_connection_without_queued_bytes(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = pair();
    let (reader, mut writer) = Async::new(left).unwrap().split();
    event_loop.block_on(async { writer.write(b"hello").unwrap() }).unwrap();
    writer.abort();
    drop(reader);
    event_loop.run().unwrap();
    right.set_nonblocking(false).unwrap();
    let error = right.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    right.write_all(b"!").unwrap_err();
}
