//! TCP and UDP sockets in each state.

use std::io::Write;
use std::net::{Shutdown, TcpListener, UdpSocket};

use super::{Subject, subject, system};
use crate::support::*;

pub fn tcp(subjects: &mut Vec<Subject>) {
    let (left, right) = pair();
    subjects.push(subject("TCP, nothing to read", left).with(right));
    let (left, mut right) = pair();
    right.write_all(b"data").unwrap();
    wait_for_data(&left);
    subjects.push(subject("TCP, data", left).with(right));
    let (left, right) = pair();
    fill_up(&left);
    subjects.push(subject("TCP, full", left).with(right));
    let (left, right) = pair();
    drop(right);
    wait_for_data(&left);
    subjects.push(subject("TCP, peer closed", left));
    let (left, right) = pair();
    right.shutdown(Shutdown::Write).unwrap();
    wait_for_data(&left);
    subjects.push(subject("TCP, peer shut down writing", left).with(right));
    let (left, right) = pair();
    right.shutdown(Shutdown::Read).unwrap();
    subjects.push(subject("TCP, peer shut down reading", left).with(right));
    for (name, how) in [
        ("TCP, own reading shut down", Shutdown::Read),
        ("TCP, own writing shut down", Shutdown::Write),
        ("TCP, both shut down", Shutdown::Both),
    ] {
        let (left, right) = pair();
        left.shutdown(how).unwrap();
        subjects.push(subject(name, left).with(right));
    }
    let (left, right) = pair();
    right.shutdown(Shutdown::Write).unwrap();
    wait_for_data(&left);
    left.shutdown(Shutdown::Write).unwrap();
    wait_for_data(&right);
    subjects.push(subject("TCP, writing shut down on both sides", left).with(right));
    let (left, right) = pair();
    fill_up(&left);
    right.shutdown(Shutdown::Write).unwrap();
    wait_for_data(&left);
    subjects.push(subject("TCP, full and peer shut down writing", left).with(right));
    let (left, right) = pair();
    reset(right);
    system::wait_for_hang_up(&left);
    subjects.push(subject("TCP, reset", left));
    let (left, right) = pair();
    reset(right);
    system::wait_for_hang_up(&left);
    // Windows returns the error of a reset by reads and writes alone.
    assert_eq!(left.take_error().unwrap().is_some(), cfg!(unix));
    subjects.push(subject("TCP, reset, error taken", left));
    let (left, right) = pair();
    socket2::SockRef::from(&right).send_out_of_band(b"!").unwrap();
    system::wait_for_urgent_data(&left);
    subjects.push(subject("TCP, urgent data", left).with(right));
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    subjects.push(subject("TCP listener, idle", listener));
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    system::wait_for_data(&listener);
    subjects.push(subject("TCP listener, a connection waits", listener).with(client));
    let unconnected =
        || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    subjects.push(subject("TCP, unconnected", unconnected()));
    let bound = unconnected();
    bound.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    subjects.push(subject("TCP, bound", bound));
    let refused = unconnected();
    refused.set_nonblocking(true).unwrap();
    let (_closed, address) = closed_port();
    let _ = refused.connect(&address.into());
    system::wait_for_hang_up(&refused);
    subjects.push(subject("TCP, refused", refused));
}

pub fn datagrams(subjects: &mut Vec<Subject>) {
    let udp = || UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    subjects.push(subject("UDP", udp()));
    let socket = udp();
    socket.send_to(b"data", socket.local_addr().unwrap()).unwrap();
    system::wait_for_data(&socket);
    subjects.push(subject("UDP, a datagram", socket));
    let socket = udp();
    let (_closed, address) = closed_udp_port();
    socket.connect(address).unwrap();
    socket.send(b"anybody?").unwrap();
    system::wait_for_unread_error(&socket);
    subjects.push(subject("UDP, port unreachable", socket));
}
