//! A loop lends its child to be killed, and for its pipes, but not to be replaced by another.
use polyselect::EventLoop;
use std::mem;
use std::process::Command;

fn main() {
    let mut event_loop = EventLoop::new(()).unwrap();
    let child = Command::new("true").spawn().unwrap();
    let mut other = Command::new("true").spawn().unwrap();
    let key = event_loop.watch_child(child, |_loop, _status| {}).unwrap();
    mem::swap(&mut *event_loop.child_mut(key).unwrap(), &mut other);
}
