//! Errors that a read does not consume: a socket's error queue that is never read.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use polyselect::asyncio::{self, Async};
use polyselect::{Backend, EventLoop};

use crate::event_loop::open;
use crate::support::network::set_option;
use crate::support::*;

cases! {
    a_task_that_receives_sleeps_while_an_error_is_unread in virtual time,
    a_task_that_waits_for_readiness_sleeps_while_an_error_is_unread in virtual time,
    datagrams_arrive_while_an_error_is_unread,
}

/// A socket whose error queue holds the ICMP error of a datagram without a receiver.
fn with_an_unread_error(event_loop: &mut EventLoop) -> Async<UdpSocket> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    set_option(&socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1);
    let (_closed, address) = closed_udp_port();
    socket.send_to(b"to a closed port", address).unwrap();
    let socket = Async::new(socket).unwrap();
    let mut buffer = [0; 64];
    let receive = asyncio::timeout(SURELY, socket.recv_from(&mut buffer));
    let error = event_loop.block_on(receive).unwrap().unwrap().unwrap_err();
    // A read consumes the socket's pending error; the queue keeps its entry.
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    socket
}

#[track_caller]
fn assert_it_sleeps(event_loop: &mut EventLoop, waiting: impl Future) {
    let turns = event_loop.stats().turns;
    let (used, passed) = processor_time(|| {
        let waited = event_loop.block_on(asyncio::timeout(20 * A_WHILE, waiting)).unwrap();
        assert!(waited.is_err(), "nothing has come");
    });
    // A loop that does not sleep makes tens of thousands of iterations in that time.
    let turns = event_loop.stats().turns - turns;
    assert!(turns < 300, "{turns} iterations and {used:?} of {passed:?}");
}

fn a_task_that_receives_sleeps_while_an_error_is_unread(backend: Backend) {
    let mut event_loop = open(backend, ());
    let socket = with_an_unread_error(&mut event_loop);
    assert_it_sleeps(&mut event_loop, socket.recv_from(&mut [0; 64]));
}

fn a_task_that_waits_for_readiness_sleeps_while_an_error_is_unread(backend: Backend) {
    let mut event_loop = open(backend, ());
    let socket = with_an_unread_error(&mut event_loop);
    let waiting = async {
        loop {
            socket.readable().await.unwrap();
            let received = socket.try_read_with(|socket| socket.recv(&mut [0; 64]));
            if received.is_ok() {
                return;
            }
        }
    };
    assert_it_sleeps(&mut event_loop, waiting);
}

fn datagrams_arrive_while_an_error_is_unread(backend: Backend) {
    let mut event_loop = open(backend, ());
    let socket = with_an_unread_error(&mut event_loop);
    let (address, peer) =
        (socket.get_ref().local_addr().unwrap(), UdpSocket::bind(("127.0.0.1", 0)).unwrap());
    let receiving = event_loop.spawn(async move {
        let mut buffer = [0; 64];
        let mut received = Vec::new();
        for _ in 0..3 {
            let (n, _) = socket.recv_from(&mut buffer).await.unwrap();
            received.push(buffer[..n].to_vec());
        }
        received
    });
    for number in 0..3 {
        event_loop.block_on(asyncio::sleep(Duration::from_millis(3))).unwrap();
        peer.send_to(&[number], address).unwrap();
    }
    let received = event_loop.block_on(asyncio::timeout(SURELY, receiving)).unwrap();
    assert_eq!(received.unwrap().unwrap(), [[0], [1], [2]]);
}
