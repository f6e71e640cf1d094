//! Reads into memory that has not been initialised follow the rules of all reads.

#![allow(unsafe_code)] // Looks at the memory.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};

use polyselect::asyncio::{self, Async};
use polyselect::{Backend, EventLoop};
use rustix::fd::{AsFd, BorrowedFd};
use socket2::SockRef;

use super::{MORE_THAN_FITS, wait_in_vain};
use crate::event_loop::open;
use crate::support::*;

cases! {
    a_read_waits_and_appends_to_the_vector in virtual time,
    a_vector_without_room_is_given_some in virtual time,
    a_slice_is_written_as_far_as_the_count_says in virtual time,
    the_end_of_the_stream_is_zero_bytes in virtual time,
    a_failed_read_leaves_the_vector_as_it_was in virtual time,
    a_cancelled_read_has_read_nothing in virtual time,
    megabytes_arrive_whole_in_small_rooms,
    a_source_with_a_read_of_its_own_is_read_by_that in virtual time,
    a_short_read_of_tcp_needs_no_second_one in virtual time needs priority,
    #[cfg(target_os = "linux")]
    tcp_reads_on_after_an_urgent_byte in virtual time,
    #[cfg(unix)]
    a_unix_socket_reads_on_after_a_short_read in virtual time,
}

fn connection() -> (Async<TcpStream>, TcpStream) {
    let (left, right) = pair();
    (Async::new(left).unwrap(), right)
}

/// Reads until `length` bytes have come, into rooms of `room` bytes.
async fn read_up_to<S>(source: &Async<S>, length: usize, room: usize) -> Vec<u8>
where
    S: AsFd + 'static,
    for<'a> &'a S: Read,
{
    let (mut all, mut piece) = (Vec::new(), Vec::with_capacity(room));
    while all.len() < length && source.read_buf(&mut piece).await.unwrap() > 0 {
        all.append(&mut piece);
    }
    all
}

#[track_caller]
fn expect<S>(event_loop: &mut EventLoop, source: &Async<S>, expected: &[u8])
where
    S: AsFd + 'static,
    for<'a> &'a S: Read,
{
    let read = asyncio::timeout(SURELY, read_up_to(source, expected.len(), 64));
    assert_eq!(event_loop.block_on(read).unwrap().expect("all has come"), expected);
}

fn a_read_waits_and_appends_to_the_vector(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = connection();
    let reader = event_loop.spawn(async move {
        let mut text = Vec::with_capacity(64);
        text.extend_from_slice(b"they said ");
        while text.len() < 15 {
            left.read_buf(&mut text).await.unwrap();
        }
        (String::from_utf8(text).unwrap(), left)
    });
    event_loop.turn(A_WHILE).unwrap();
    assert!(!reader.is_finished());
    right.write_all(b"hello").unwrap();
    let (text, _left) = event_loop.block_on(reader).unwrap().unwrap();
    assert_eq!(text, "they said hello");
    assert!(text.capacity() == 64, "nothing was allocated");
}

fn a_vector_without_room_is_given_some(backend: Backend) {
    let (left, mut right) = connection();
    right.write_all(b"hello").unwrap();
    let mut event_loop = open(backend, ());
    let read = async {
        let mut text = b"full".to_vec();
        text.shrink_to_fit();
        while text.len() < 9 {
            assert_ne!(left.read_buf(&mut text).await.unwrap(), 0);
        }
        text
    };
    assert_eq!(event_loop.block_on(read).unwrap(), b"fullhello");
}

fn a_slice_is_written_as_far_as_the_count_says(backend: Backend) {
    let (left, mut right) = connection();
    let mut event_loop = open(backend, ());
    event_loop.block_on(wait_in_vain(&left)).unwrap();
    right.write_all(b"hello").unwrap();
    let mut bytes = Vec::new();
    while bytes.len() < 5 {
        let mut memory = [MaybeUninit::new(b'.'); 16];
        let read = poll_fn(|context| left.poll_read_uninit(context, &mut memory));
        let count = event_loop.block_on(read).unwrap().unwrap();
        assert!(count > 0 && count <= 5);
        // SAFETY: all of it was initialised above.
        let memory = memory.map(|byte| unsafe { byte.assume_init() });
        assert!(memory[count..].iter().all(|&byte| byte == b'.'), "{memory:?} after {count}");
        bytes.extend_from_slice(&memory[..count]);
    }
    assert_eq!(bytes, b"hello");
}

fn the_end_of_the_stream_is_zero_bytes(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = connection();
    event_loop.block_on(wait_in_vain(&left)).unwrap();
    right.write_all(b"the last").unwrap();
    right.shutdown(Shutdown::Write).unwrap();
    expect(&mut event_loop, &left, b"the last");
    for _ in 0..2 {
        let mut text = Vec::with_capacity(64);
        let end = event_loop.block_on(left.read_buf(&mut text)).unwrap().unwrap();
        assert_eq!((end, text.len()), (0, 0));
    }
}

fn a_failed_read_leaves_the_vector_as_it_was(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, right) = connection();
    event_loop.block_on(wait_in_vain(&left)).unwrap();
    SockRef::from(&right).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(right);
    let mut text = b"kept".to_vec();
    let read = event_loop.block_on(async { left.read_buf(&mut text).await }).unwrap();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(text, b"kept");
}

fn a_cancelled_read_has_read_nothing(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = connection();
    let mut text = Vec::with_capacity(64);
    let read = asyncio::timeout(A_WHILE, left.read_buf(&mut text));
    event_loop.block_on(read).unwrap().unwrap_err();
    assert!(text.is_empty());
    right.write_all(b"hello").unwrap();
    expect(&mut event_loop, &left, b"hello");
}

fn megabytes_arrive_whole_in_small_rooms(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, right) = connection();
    let right = Async::new(right).unwrap();
    let sent: Vec<u8> = (0..MORE_THAN_FITS / 10).map(|index| (index % 251) as u8).collect();
    let bytes = sent.clone();
    event_loop.spawn(async move { right.write_all(&bytes).await }).detach();
    let read = asyncio::timeout(SURELY, read_up_to(&left, usize::MAX, 1000));
    let received = event_loop.block_on(read).unwrap().expect("the stream ends");
    assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
}

/// A source that is more than its descriptor.
struct Shouting(TcpStream);

impl AsFd for Shouting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for &Shouting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (&self.0).read(buffer)?;
        buffer[..count].make_ascii_uppercase();
        Ok(count)
    }
}

fn a_source_with_a_read_of_its_own_is_read_by_that(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = pair();
    let left = Async::new(Shouting(left)).unwrap();
    event_loop.block_on(wait_in_vain(&left)).unwrap();
    for _ in 0..3 {
        right.write_all(b"hello").unwrap();
        expect(&mut event_loop, &left, b"HELLO");
        right.write_all(b"you").unwrap();
        let mut memory = [MaybeUninit::uninit(); 16];
        let read = poll_fn(|context| left.poll_read_uninit(context, &mut memory));
        let count = event_loop.block_on(read).unwrap().unwrap();
        // SAFETY: the read has initialised the first `count` bytes.
        let first = memory[..count].iter().map(|byte| unsafe { byte.assume_init() });
        let first: Vec<_> = first.collect();
        assert_eq!(first, b"YOU"[..count]);
        if count < 3 {
            expect(&mut event_loop, &left, &b"YOU"[count..]);
        }
    }
}

/// So that a read costs one system call: the next wait does not begin with another read.
fn a_short_read_of_tcp_needs_no_second_one(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = connection();
    event_loop.block_on(wait_in_vain(&left)).unwrap();
    for _ in 0..3 {
        right.write_all(b"hello").unwrap();
        expect(&mut event_loop, &left, b"hello");
        event_loop.block_on(wait_in_vain(&left)).unwrap();
    }
}

#[cfg(target_os = "linux")]
fn tcp_reads_on_after_an_urgent_byte(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = connection();
    event_loop.block_on(wait_in_vain(&left)).unwrap();
    for _ in 0..3 {
        right.write_all(b"AB").unwrap();
        SockRef::from(&right).send_out_of_band(b"!").unwrap();
        right.write_all(b"OR").unwrap();
        expect(&mut event_loop, &left, b"ABOR");
    }
}

/// There a short read proves nothing: both packets may have come by one edge.
#[cfg(unix)]
fn a_unix_socket_reads_on_after_a_short_read(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, right) = std::os::unix::net::UnixStream::pair().unwrap();
    let left = Async::new(left).unwrap();
    event_loop.block_on(wait_in_vain(&left)).unwrap();
    for _ in 0..3 {
        #[cfg(target_os = "linux")]
        super::short_reads::send_with_descriptor(&right, b"one, ");
        #[cfg(not(target_os = "linux"))]
        (&right).write_all(b"one, ").unwrap();
        (&right).write_all(b"two").unwrap();
        expect(&mut event_loop, &left, b"one, two");
    }
}
