//! The selector would watch a descriptor that other code may close.
use polyselect::{Interest, Selector};
use std::net::UdpSocket;

fn main() {
    let mut selector = Selector::new().unwrap();
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let key = selector.register(socket, Interest::READABLE, ()).unwrap();
    let socket: UdpSocket = *selector[key].source();
    drop(socket);
}
