//! A raw descriptor has no owner.
use polyselect::{Interest, Selector};

fn main() {
    let mut selector = Selector::new().unwrap();
    selector.register(0, Interest::READABLE, ()).unwrap();
}
