//! Short reads with more data behind them: no task waits for data that has arrived already.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use polyselect::asyncio::{self, Async, StreamReader};
use polyselect::{Backend, EventLoop};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, sockopt};
use socket2::SockRef;

use super::wait_in_vain;
use crate::event_loop::open;
use crate::support::network::set_option;
use crate::support::process::{Storm, fork};
use crate::support::*;

cases! {
    tcp_reads_on_after_an_urgent_byte_in_a_line in virtual time,
    tcp_reads_on_after_several_urgent_bytes in virtual time,
    tcp_reads_on_after_an_urgent_byte_that_is_read_inline in virtual time,
    tcp_reads_on_after_an_urgent_byte_that_the_program_took in virtual time,
    tcp_reads_on_at_the_mark_through_a_storm_of_signals needs priority,
    tcp_reads_on_above_the_low_water_mark in virtual time,
    tcp_reads_to_the_end_when_data_and_end_come_at_once in virtual time,
    tcp_knows_after_a_short_read_that_it_is_empty in virtual time needs priority,
    a_tcp_stream_made_of_another_socket_reads_on in virtual time,
    a_unix_socket_reads_on_after_descriptors in virtual time,
    a_unix_socket_reads_on_after_other_credentials,
    a_unix_socket_reads_on_after_an_urgent_byte in virtual time,
    a_pipe_reads_on_after_a_packet in virtual time,
}

/// A registered reader, and the sockets of both ends.
struct Conversation {
    event_loop: EventLoop,
    source: Async<TcpStream>,
    reader: StreamReader<TcpStream>,
    peer: TcpStream,
}

impl Conversation {
    fn begin(backend: Backend) -> Self {
        let mut event_loop = open(backend, ());
        let (left, peer) = pair();
        let source = Async::new(left).unwrap();
        let (reader, _writer) = source.clone().split();
        event_loop.block_on(wait_in_vain(&source)).unwrap();
        Self { event_loop, source, reader, peer }
    }

    /// Reads a line that must arrive, after some iterations in which all of it does.
    #[track_caller]
    fn expect_line(&mut self, expected: &[u8]) {
        let read = asyncio::timeout(SURELY, async {
            asyncio::sleep(A_WHILE).await;
            self.reader.read_line().await.unwrap().to_vec()
        });
        assert_eq!(self.event_loop.block_on(read).unwrap().expect("the line has come"), expected);
    }

    fn write(&mut self, bytes: &[u8]) {
        self.peer.write_all(bytes).unwrap();
    }

    fn write_urgent(&mut self, byte: u8) {
        SockRef::from(&self.peer).send_out_of_band(&[byte]).unwrap();
    }
}

fn tcp_reads_on_after_an_urgent_byte_in_a_line(backend: Backend) {
    let mut conversation = Conversation::begin(backend);
    for _ in 0..3 {
        conversation.write(b"AB");
        conversation.write_urgent(b'!');
        conversation.write(b"OR\r\n");
        conversation.expect_line(b"ABOR\r\n");
    }
}

fn tcp_reads_on_after_several_urgent_bytes(backend: Backend) {
    let mut conversation = Conversation::begin(backend);
    conversation.write(b"one ");
    conversation.write_urgent(b'!');
    conversation.write(b"two ");
    conversation.write_urgent(b'!');
    conversation.write(b"three\n");
    // Of the urgent bytes only the last is outside the stream; the others are data.
    conversation.expect_line(b"one !two three\n");
}

fn tcp_reads_on_after_an_urgent_byte_that_is_read_inline(backend: Backend) {
    let mut conversation = Conversation::begin(backend);
    sockopt::set_socket_oobinline(conversation.source.get_ref(), true).unwrap();
    conversation.write(b"AB");
    conversation.write_urgent(b'!');
    conversation.write(b"OR\n");
    conversation.expect_line(b"AB!OR\n");
}

fn tcp_reads_on_after_an_urgent_byte_that_the_program_took(backend: Backend) {
    let mut conversation = Conversation::begin(backend);
    conversation.write(b"AB");
    conversation.write_urgent(b'!');
    // As a handler of `SIGURG` would, before the loop has seen an event of it.
    let mut urgent = [std::mem::MaybeUninit::uninit()];
    let taken = conversation
        .source
        .try_read_with(|socket| SockRef::from(socket).recv_out_of_band(&mut urgent));
    assert_eq!(taken.unwrap(), 1);
    conversation.write(b"OR\n");
    conversation.expect_line(b"ABOR\n");
}

/// If a signal arrives at a certain moment, Linux returns `WouldBlock` at the mark, although data
/// follows.
fn tcp_reads_on_at_the_mark_through_a_storm_of_signals(backend: Backend) {
    let mut conversation = Conversation::begin(backend);
    let storm = Storm::every(Duration::ZERO);
    for _ in 0..2000 {
        conversation.write(b"AB");
        conversation.write_urgent(b'!');
        conversation.write(b"OR\n");
        // No further edge would wake the task.
        conversation.event_loop.turn(A_WHILE).unwrap();
        let line = asyncio::timeout(SURELY, conversation.reader.read_line());
        let line = conversation.event_loop.block_on(line).unwrap().expect("the line has come");
        assert_eq!(line.unwrap(), b"ABOR\n");
    }
    drop(storm);
}

fn tcp_reads_on_above_the_low_water_mark(backend: Backend) {
    let mut conversation = Conversation::begin(backend);
    // From now on the socket is readable from eight bytes on.
    set_option(conversation.source.get_ref(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, 8);
    for _ in 0..3 {
        conversation.write(b"1234567\n");
        conversation.expect_line(b"1234567\n");
    }
}

fn tcp_reads_to_the_end_when_data_and_end_come_at_once(backend: Backend) {
    let mut conversation = Conversation::begin(backend);
    conversation.write(b"the last\n");
    conversation.peer.shutdown(Shutdown::Write).unwrap();
    conversation.expect_line(b"the last\n");
    conversation.expect_line(b"");
}

/// A read costs one system call: the next wait does not begin with another read.
fn tcp_knows_after_a_short_read_that_it_is_empty(backend: Backend) {
    let mut conversation = Conversation::begin(backend);
    for _ in 0..3 {
        conversation.write(b"a line\n");
        conversation.expect_line(b"a line\n");
        conversation.event_loop.block_on(wait_in_vain(&conversation.source)).unwrap();
    }
}

/// Sends bytes with a descriptor, so that a read ends after them.
pub fn send_with_descriptor(socket: &UnixStream, bytes: &[u8]) {
    let descriptors: [BorrowedFd<'_>; 1] = [socket.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let parts = [io::IoSlice::new(bytes)];
    assert_eq!(sendmsg(socket, &parts, &mut ancillary, SendFlags::empty()), Ok(bytes.len()));
}

#[track_caller]
fn expect_bytes<S>(event_loop: &mut EventLoop, source: &Async<S>, expected: &[u8])
where
    S: AsFd + 'static,
    for<'a> &'a S: Read,
{
    let read = asyncio::timeout(SURELY, async {
        let mut bytes = Vec::new();
        while bytes.len() < expected.len() {
            let mut buffer = [0; 64];
            let n = source.read(&mut buffer).await.unwrap();
            bytes.extend_from_slice(&buffer[..n]);
        }
        bytes
    });
    assert_eq!(event_loop.block_on(read).unwrap().expect("all has come"), expected);
}

fn a_tcp_stream_made_of_another_socket_reads_on(backend: Backend) {
    let (left, right) = UnixStream::pair().unwrap();
    let source = Async::new(TcpStream::from(OwnedFd::from(left))).unwrap();
    reads_on_after_descriptors(backend, &source, &right);
}

fn a_unix_socket_reads_on_after_descriptors(backend: Backend) {
    let (left, right) = UnixStream::pair().unwrap();
    reads_on_after_descriptors(backend, &Async::new(left).unwrap(), &right);
}

fn reads_on_after_descriptors<S>(backend: Backend, source: &Async<S>, mut peer: &UnixStream)
where
    S: AsFd + 'static,
    for<'a> &'a S: Read,
{
    let mut event_loop = open(backend, ());
    event_loop.block_on(wait_in_vain(source)).unwrap();
    for _ in 0..3 {
        send_with_descriptor(peer, b"with a descriptor");
        peer.write_all(b" and without").unwrap();
        expect_bytes(&mut event_loop, source, b"with a descriptor and without");
    }
}

fn a_unix_socket_reads_on_after_other_credentials(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = UnixStream::pair().unwrap();
    sockopt::set_socket_passcred(&left, true).unwrap();
    let source = Async::new(left).unwrap();
    event_loop.block_on(wait_in_vain(&source)).unwrap();
    right.write_all(b"parent").unwrap();
    fork(|| right.write_all(b" and child").unwrap()).join();
    expect_bytes(&mut event_loop, &source, b"parent and child");
}

fn a_unix_socket_reads_on_after_an_urgent_byte(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = UnixStream::pair().unwrap();
    let source = Async::new(left).unwrap();
    event_loop.block_on(wait_in_vain(&source)).unwrap();
    right.write_all(b"AB").unwrap();
    if let Err(error) = SockRef::from(&right).send_out_of_band(b"!") {
        skip(&format!("Unix sockets have no urgent bytes here: {error}"));
    }
    right.write_all(b"OR").unwrap();
    expect_bytes(&mut event_loop, &source, b"ABOR");
}

fn a_pipe_reads_on_after_a_packet(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::DIRECT).unwrap();
    let source = Async::new(io::PipeReader::from(reader)).unwrap();
    let mut writer = io::PipeWriter::from(writer);
    event_loop.block_on(wait_in_vain(&source)).unwrap();
    for _ in 0..3 {
        writer.write_all(b"one").unwrap();
        writer.write_all(b"two").unwrap();
        expect_bytes(&mut event_loop, &source, b"onetwo");
    }
}
