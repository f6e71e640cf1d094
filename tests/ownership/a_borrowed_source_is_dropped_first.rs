//! The selector would watch a closed descriptor.
use polyselect::{Interest, Selector};
use std::net::UdpSocket;

fn main() {
    let mut selector = Selector::new().unwrap();
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    selector.register(&socket, Interest::READABLE, ()).unwrap();
    drop(socket);
    drop(selector);
}
