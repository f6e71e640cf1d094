//! Loopback ports that accept no connection or datagram while their socket lives: a port that was
//! only closed could be reused by another program, or by the very socket that connects to it.

use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Socket, Type};

/// A TCP port on which nothing listens.
pub fn closed_port() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// A UDP port that accepts datagrams from itself alone.
pub fn closed_udp_port() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let address = socket.local_addr().unwrap();
    socket.connect(address).unwrap();
    (socket, address)
}
