//! The event loop: callbacks that register, remove, modify, set timers, queue, wake, fail and panic
//! as the bytes decide, compared with a plain model of the order within an iteration.

mod expected;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use polyselect::{Backend, EventLoop};

use super::bytes::Bytes;
use world::{Planned, World};

/// Enough iterations for every effect of an earlier one.
const MOST_TURNS: usize = 40;

pub fn check(data: &[u8]) {
    for backend in Backend::available() {
        let alive = Rc::new(());
        let world = World::new(Bytes::new(data), Rc::clone(&alive));
        let mut event_loop = EventLoop::with_backend(backend, world).expect("opens");
        event_loop.state.log(format!("on {backend}"));
        run(&mut event_loop);
        drop(event_loop);
        // Callbacks and sources that are still registered are dropped with the loop.
        assert_eq!(Rc::strong_count(&alive), 1, "on {backend} something outlived the loop");
    }
}

fn run(event_loop: &mut EventLoop<World>) {
    world::prepare(event_loop);
    for _ in 0..MOST_TURNS {
        if event_loop.state.is_over() {
            break;
        }
        world::act(event_loop);
        // If an event is due, a wait without a timeout must return.
        let must_return = event_loop.state.expected.begin_turn();
        let timeout = if must_return { None } else { Some(Duration::ZERO) };
        event_loop.state.is_in_turn = true;
        let turn = catch_unwind(AssertUnwindSafe(|| event_loop.turn(timeout)));
        event_loop.state.is_in_turn = false;
        match turn {
            Ok(result) => {
                result.expect("turns");
                event_loop.state.expected.end_turn();
            }
            Err(payload) if payload.is::<Planned>() => event_loop.state.expected.break_off(),
            Err(payload) => resume_unwind(payload),
        }
        world::compare(event_loop);
    }
}
