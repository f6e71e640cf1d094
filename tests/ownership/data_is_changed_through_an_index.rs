//! An index borrows for reading only; `get_mut` borrows for changes.
use polyselect::{Interest, Selector};
use std::net::UdpSocket;

fn main() {
    let mut selector = Selector::new().unwrap();
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let key = selector.register(socket, Interest::READABLE, 1).unwrap();
    std::mem::swap(&mut selector[key], &mut selector[key]);
}
