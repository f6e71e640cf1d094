//! Registrations that are used or removed after they have ended.

use std::io::Write;
use std::time::Duration;

use polyselect::{EventLoop, Events, Interest, Next, Selector};

use super::{MS, Trial, read_some};

pub(super) fn indexes_by_the_key_of_a_closed_connection(trial: &Trial<'_>) {
    let (data, mut data_peer) = trial.pair();
    let (control, mut control_peer) = trial.pair();
    let mut selector = Selector::new().unwrap();
    let data = selector.register(data, Interest::READABLE, ()).unwrap();
    let control = selector.register(control, Interest::READABLE, ()).unwrap();
    data_peer.write_all(b"record").unwrap();
    control_peer.write_all(b"quit").unwrap();
    let mut events = Events::with_capacity(8);
    while !selector.is_empty() {
        selector.select(&mut events, Duration::from_secs(1)).unwrap();
        for event in &events {
            let registration = if trial.is_right {
                let Some(registration) = selector.get(event.key) else { continue };
                registration
            } else {
                &selector[event.key]
            };
            let read = read_some(registration.source(), &mut [0; 16]).unwrap();
            if event.key == control && read.is_some() {
                selector.unregister(data).unwrap();
                selector.unregister(control).unwrap();
            }
        }
    }
}

pub(super) fn removes_both_ends_twice(trial: &Trial<'_>) {
    let mut event_loop = EventLoop::new(Vec::new()).unwrap();
    let is_right = trial.is_right;
    for number in 0..2 {
        let (end, peer) = trial.pair();
        let key = event_loop
            .register(end, Interest::READABLE, move |event_loop, end, _event| {
                if read_some(end, &mut [0; 16])? != Some(0) {
                    return Ok(Next::Keep);
                }
                event_loop.call_soon(move |event_loop| {
                    for key in event_loop.state.clone() {
                        if !is_right || event_loop.contains(key) {
                            event_loop.unregister(key).expect("removed twice");
                        }
                    }
                });
                Ok(Next::Modify(Interest::empty()))
            })
            .unwrap();
        event_loop.state.push(key);
        event_loop.call_later(3 * MS * number, move |_loop| drop(peer));
    }
    event_loop.run().unwrap();
}
