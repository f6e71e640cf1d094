//! A number says nothing about who owns it.
use polyselect::{Interest, Selector};

fn main() {
    let mut selector = Selector::new().unwrap();
    selector.register(0, Interest::READABLE, ()).unwrap();
}
