//! Readers with a buffer, writers with a queue.

use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use polyselect::asyncio::{self, Async};
use polyselect::{Backend, EventLoop};

use super::MORE_THAN_FITS;
use crate::event_loop::open;
use crate::support::*;

cases! {
    lines_are_read_in_pieces_and_at_the_end,
    a_line_that_is_too_long_is_an_error_and_stays,
    read_exact_returns_all_bytes_or_an_error,
    a_cancelled_read_keeps_what_has_come in virtual time,
    drain_waits_above_the_high_water_mark_and_no_longer_than_needed,
    write_buffer_size_is_the_number_of_bytes_that_wait,
    bytes_of_a_dropped_writer_are_sent,
    flush_and_close_wait_for_the_last_byte,
    an_error_of_a_writer_is_returned_by_the_next_call,
    bytes_written_outside_a_task_are_sent_by_the_next_task,
    bytes_left_by_a_dropped_loop_are_sent_by_another,
    the_traits_of_futures_io_work_on_streams,
}

type Reader = asyncio::StreamReader<TcpStream>;
type Writer = asyncio::StreamWriter<TcpStream>;

fn streams() -> (Reader, Writer, TcpStream) {
    let (left, right) = pair();
    let (reader, writer) = Async::new(left).unwrap().split();
    (reader, writer, right)
}

/// Reads everything on a thread, and returns the number of bytes.
fn read_to_the_end(mut peer: TcpStream) -> thread::JoinHandle<usize> {
    peer.set_nonblocking(false).unwrap();
    thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        assert!(all.iter().enumerate().all(|(place, &byte)| byte == (place % 251) as u8));
        all.len()
    })
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|place| (place % 251) as u8).collect()
}

fn lines_are_read_in_pieces_and_at_the_end(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (mut reader, _writer, peer) = streams();
    let mut reading = pin!(async {
        let mut lines = Vec::new();
        loop {
            match reader.read_line().await.unwrap() {
                b"" => return lines,
                line => lines.push(String::from_utf8(line.to_vec()).unwrap()),
            }
        }
    });
    let mut pieces = ["fir", "st\nsec", "ond\n\nlast", " without end"].iter();
    let mut peer = Some(peer);
    let piece_by_piece = poll_fn(|context| {
        let poll = reading.as_mut().poll(context);
        // It has read what arrived, and gets the next piece or the end.
        if poll.is_pending()
            && let Some(writing) = &mut peer
        {
            match pieces.next() {
                Some(piece) => writing.write_all(piece.as_bytes()).unwrap(),
                None => peer = None,
            }
        }
        poll
    });
    let lines = event_loop.block_on(asyncio::timeout(SURELY, piece_by_piece)).unwrap().unwrap();
    assert_eq!(lines, ["first\n", "second\n", "\n", "last without end"]);
}

fn a_line_that_is_too_long_is_an_error_and_stays(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (mut reader, _writer, mut peer) = streams();
    reader.set_limit(10);
    peer.write_all(b"123456789\n1234567890\nrest").unwrap();
    event_loop
        .block_on(async {
            assert_eq!(reader.read_line().await.unwrap(), b"123456789\n");
            let error = reader.read_line().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            reader.set_limit(11);
            assert_eq!(reader.read_line().await.unwrap(), b"1234567890\n");
        })
        .unwrap();
    // Also before the end of the stream.
    reader.set_limit(100);
    peer.write_all(&[b'x'; 1000]).unwrap();
    let error = event_loop.block_on(async { reader.read_line().await.unwrap_err() }).unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

fn read_exact_returns_all_bytes_or_an_error(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (mut reader, _writer, mut peer) = streams();
    let bytes = content(100_000);
    let writing = thread::spawn({
        let bytes = bytes.clone();
        move || {
            peer.set_nonblocking(false).unwrap();
            peer.write_all(&bytes).unwrap();
        }
    });
    event_loop
        .block_on(async {
            assert_eq!(reader.read_exact(0).await.unwrap(), b"");
            assert_eq!(reader.read_exact(99_990).await.unwrap(), &bytes[..99_990]);
            let error = reader.read_exact(20).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            assert!(error.to_string().contains("10 of 20"), "{error}");
            let mut rest = [0; 20];
            assert_eq!(reader.read(&mut rest).await.unwrap(), 10);
            assert_eq!(&rest[..10], &bytes[99_990..]);
            assert_eq!(reader.read(&mut rest).await.unwrap(), 0);
        })
        .unwrap();
    writing.join().unwrap();
}

fn a_cancelled_read_keeps_what_has_come(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (mut reader, _writer, mut peer) = streams();
    peer.write_all(b"half a ").unwrap();
    event_loop
        .block_on(async {
            asyncio::timeout(A_WHILE, reader.read_line()).await.unwrap_err();
            asyncio::timeout(A_WHILE, reader.read_exact(100)).await.unwrap_err();
        })
        .unwrap();
    peer.write_all(b"line\n").unwrap();
    event_loop
        .block_on(async { assert_eq!(reader.read_line().await.unwrap(), b"half a line\n") })
        .unwrap();
}

fn drain_waits_above_the_high_water_mark_and_no_longer_than_needed(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (_reader, mut writer, peer) = streams();
    event_loop
        .block_on(async {
            // Bytes in the kernel's buffer do not count.
            while format!("{writer:?}").contains("queued: 0") {
                writer.write(&[0; 65536]).unwrap();
                writer.drain().await.unwrap();
            }
            writer.set_high_water(1 << 20);
            writer.write(&[0; 1 << 19]).unwrap();
            asyncio::timeout(SURELY, writer.drain()).await.expect("below the mark").unwrap();
            writer.write(&[0; 1 << 20]).unwrap();
            asyncio::timeout(A_WHILE, writer.drain()).await.unwrap_err();
        })
        .unwrap();
    let reading = thread::spawn(move || {
        peer.set_nonblocking(false).unwrap();
        std::io::copy(&mut &peer, &mut std::io::sink()).unwrap()
    });
    event_loop
        .block_on(async {
            asyncio::timeout(SURELY, writer.drain()).await.unwrap().unwrap();
            writer.close().await.unwrap();
        })
        .unwrap();
    drop(event_loop);
    drop(_reader);
    assert!(reading.join().unwrap() > 3 << 19);
}

fn write_buffer_size_is_the_number_of_bytes_that_wait(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (_reader, mut writer, mut peer) = streams();
    assert_eq!(writer.write_buffer_size(), 0);
    event_loop
        .block_on(async {
            writer.write(b"!").unwrap();
            assert_eq!(writer.write_buffer_size(), 0, "the source has taken it");
            writer.write(&vec![0; MORE_THAN_FITS]).unwrap();
            let first = writer.write_buffer_size();
            assert!((1..MORE_THAN_FITS).contains(&first));
            writer.write(&[0; 100]).unwrap();
            assert_eq!(writer.write_buffer_size(), first + 100);
        })
        .unwrap();
    let reading = thread::spawn(move || {
        peer.set_nonblocking(false).unwrap();
        peer.read_exact(&mut vec![0; 1 + MORE_THAN_FITS + 100]).unwrap();
    });
    event_loop.block_on(async { writer.flush().await.unwrap() }).unwrap();
    assert_eq!(writer.write_buffer_size(), 0);
    reading.join().unwrap();
}

fn bytes_of_a_dropped_writer_are_sent(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (reader, mut writer, peer) = streams();
    event_loop
        .block_on(async {
            writer.write(&content(MORE_THAN_FITS)).unwrap();
            drop((reader, writer));
        })
        .unwrap();
    let reading = read_to_the_end(peer);
    event_loop.run().unwrap();
    assert_eq!(reading.join().unwrap(), MORE_THAN_FITS);
}

fn flush_and_close_wait_for_the_last_byte(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (mut reader, mut writer, peer) = streams();
    let mut answering = peer.try_clone().unwrap();
    let reading = read_to_the_end(peer);
    event_loop
        .block_on(async {
            let bytes = content(3_000_000);
            let (first, last) = bytes.split_at(2_000_000);
            writer.write(first).unwrap();
            writer.flush().await.unwrap();
            assert!(format!("{writer:?}").contains("queued: 0"));
            writer.write(last).unwrap();
            writer.close().await.unwrap();
        })
        .unwrap();
    assert_eq!(reading.join().unwrap(), 3_000_000);
    // The other direction is open.
    answering.write_all(b"thanks\n").unwrap();
    event_loop
        .block_on(async { assert_eq!(reader.read_line().await.unwrap(), b"thanks\n") })
        .unwrap();
}

fn an_error_of_a_writer_is_returned_by_the_next_call(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (_reader, mut writer, peer) = streams();
    let failing = async {
        writer.write(&[0; 10_000_000]).unwrap();
        reset(peer);
        let error = writer.flush().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
        assert_eq!(writer.write(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(writer.drain().await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    };
    event_loop.block_on(asyncio::timeout(SURELY, failing)).unwrap().unwrap();
}

fn bytes_written_outside_a_task_are_sent_by_the_next_task(backend: Backend) {
    let (reader, mut writer, peer) = streams();
    let error = writer.write(&content(MORE_THAN_FITS)).unwrap_err();
    assert!(error.to_string().contains("event_loop.spawn"), "{error}");
    what_is_left_is_sent(open(backend, ()), reader, writer, peer);
}

fn bytes_left_by_a_dropped_loop_are_sent_by_another(backend: Backend) {
    let (reader, mut writer, peer) = streams();
    let mut first = open(backend, ());
    first.block_on(async { writer.write(&content(MORE_THAN_FITS)).unwrap() }).unwrap();
    first.turn(Duration::ZERO).unwrap();
    drop(first);
    what_is_left_is_sent(open(backend, ()), reader, writer, peer);
}

fn what_is_left_is_sent(
    mut event_loop: EventLoop,
    reader: Reader,
    mut writer: Writer,
    peer: TcpStream,
) {
    let reading = read_to_the_end(peer);
    event_loop
        .block_on(async {
            asyncio::timeout(SURELY, writer.flush()).await.unwrap().unwrap();
            drop((reader, writer));
        })
        .unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
    assert_eq!(reading.join().unwrap(), MORE_THAN_FITS);
}

fn the_traits_of_futures_io_work_on_streams(backend: Backend) {
    use futures_lite::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use futures_lite::stream::StreamExt;

    let mut event_loop = open(backend, ());
    let (left, right) = pair();
    let (left, mut right) = (Async::new(left).unwrap(), Async::new(right).unwrap());
    let copying = async {
        let writer = &left;
        let mut lines = BufReader::new(&left).lines();
        while let Some(line) = StreamExt::next(&mut lines).await {
            writer.write_all(line.unwrap().to_uppercase().as_bytes()).await.unwrap();
        }
        AsyncWriteExt::close(&mut &left).await.unwrap();
    };
    let asking = async {
        AsyncWriteExt::write_all(&mut right, b"one\ntwo\n").await.unwrap();
        AsyncWriteExt::close(&mut right).await.unwrap();
        let mut text = String::new();
        AsyncReadExt::read_to_string(&mut right, &mut text).await.unwrap();
        text
    };
    let both = futures_lite::future::zip(copying, asking);
    let ((), text) = event_loop.block_on(asyncio::timeout(SURELY, both)).unwrap().unwrap();
    assert_eq!(text, "ONETWO");
}
