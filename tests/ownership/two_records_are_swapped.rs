//! Each would be watched under the key of the other, and unregistering one would return the other.
use polyselect::{Interest, Registration, Selector};
use std::net::UdpSocket;

fn main() {
    let mut selector = Selector::new().unwrap();
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let key = selector.register(socket, Interest::READABLE, ()).unwrap();
    let record: &mut Registration<UdpSocket> = selector.get_mut(key).unwrap();
    let _ = record;
}
