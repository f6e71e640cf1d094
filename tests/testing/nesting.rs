//! A loop inside another one, in a lab.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use polyselect::testing::{Disorder, Lab};
use polyselect::{EventLoop, Interest, Next};

use crate::sockets::{Stream, stream_pair};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn another_backend_and_a_nested_loop_stay_in_the_lab() {
    let lab = Lab::new(1, Disorder::none());
    let mut inner = EventLoop::in_lab(&lab, 0).unwrap();
    inner.rebuild().unwrap();
    let (mut left, right) = stream_pair().unwrap();
    let count = |event_loop: &mut EventLoop<usize>, mut source: &Stream, _| {
        event_loop.state += source.read(&mut [0; 8])?;
        Ok(Next::Keep)
    };
    inner.register(right, Interest::READABLE, count).unwrap();
    inner.call_later(HOUR, |inner| inner.state += 10);
    let inner = Rc::new(RefCell::new(inner));

    let mut outer = EventLoop::in_lab(&lab, ()).unwrap();
    let descriptor = inner.borrow_mut().descriptor();
    if let Ok(descriptor) = descriptor {
        let of_callback = Rc::clone(&inner);
        outer
            .register(descriptor, Interest::READABLE, move |_, _, _| {
                of_callback.borrow_mut().turn(Duration::ZERO).map(|_| Next::Keep)
            })
            .unwrap();
        left.write_all(b"!").unwrap();
        outer.turn(HOUR).unwrap();
        assert_eq!(inner.borrow().state, 1);
        assert_eq!(lab.elapsed(), Duration::ZERO);
        let deadline = inner.borrow_mut().next_deadline().unwrap();
        outer.turn(deadline - outer.now()).unwrap();
        inner.borrow_mut().turn(Duration::ZERO).unwrap();
        assert_eq!((inner.borrow().state, lab.elapsed()), (11, HOUR));
    }
}
