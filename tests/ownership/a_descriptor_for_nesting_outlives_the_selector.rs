//! It is closed with the selector.
use polyselect::Selector;
use std::net::UdpSocket;

fn main() {
    let mut selector: Selector<UdpSocket> = Selector::new().unwrap();
    let descriptor = selector.descriptor().unwrap();
    drop(selector);
    println!("{descriptor:?}");
}
