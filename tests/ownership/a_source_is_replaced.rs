//! The watched source would be dropped.
use polyselect::{Interest, Selector};
use std::net::UdpSocket;

fn main() {
    let mut selector = Selector::new().unwrap();
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let key = selector.register(socket, Interest::READABLE, ()).unwrap();
    let other = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let registration = selector.get_mut(key).unwrap();
    *registration.source = other;
}
