//! Programs for a loop, and the conditions that hold after each iteration.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use polyselect::{Backend, asyncio};

use super::ending::{finish, panics_as_planned, patience};
use super::lab::long;
use super::steps::Step;
use super::world::{Loop, World, new_loop};

/// Enough iterations for every effect of an earlier one.
const MOST_TURNS: u64 = 300;

/// Runs a program, and returns the failure.
pub fn run(backend: Backend, program: &[Step]) -> Result<(), String> {
    let world = World::new(backend, program);
    let outcome = run_in(&world);
    // A failing program leaves nothing behind either, so that it can be shrunk.
    world.is_ending.set(true);
    world.release();
    outcome
}

fn run_in(world: &Rc<World>) -> Result<(), String> {
    let mut event_loop = new_loop(world);
    *world.local.borrow_mut() = Some(event_loop.local());
    *world.remote.borrow_mut() = Some(event_loop.remote().expect("opens"));
    event_loop.on_error(|event_loop, key, error| {
        let world = Rc::clone(&event_loop.state);
        world.error_reported(key, &error, event_loop);
    });
    while world.has_steps() && world.turn.get() < MOST_TURNS {
        // Between two iterations no user code runs that a panic would end.
        let _ = world.act(Some(&mut event_loop));
        match world.block_on.take() {
            Some(polls) => block_on(world, &mut event_loop, polls),
            None => {
                let must_return = world.calls.are_owed() || world.signals.are_owed();
                let is_short = !world.turn.get().is_multiple_of(4);
                let limit = if is_short { Duration::ZERO } else { long(200) };
                turn(world, &mut event_loop, if must_return { patience() } else { limit });
            }
        }
        world.outcome()?;
    }
    finish(world, event_loop)
}

/// Runs one iteration.
pub fn turn(world: &Rc<World>, event_loop: &mut Loop, timeout: Duration) {
    let began = world.now();
    world.turn_began.set(began);
    let result = panics_as_planned(world, || event_loop.turn(timeout));
    if timeout == patience() {
        let taken = world.now() - began;
        world.check(taken < timeout, || "an iteration with calls to run has waited".to_owned());
    }
    if let Ok(Err(error)) = &result {
        world.wrong(format!("turn: {error}"));
    }
    after_turn(world, event_loop, result.is_ok());
}

/// Runs the loop until a future is ready, which is pending for this number of `polls`.
fn block_on(world: &Rc<World>, event_loop: &mut Loop, polls: usize) {
    world.turn_began.set(world.now());
    let mut left = polls;
    let result = panics_as_planned(world, || {
        event_loop.block_on(async {
            if polls == 3 {
                // Short, because time stands still while a source is always ready, except for the stalls of a lab.
                asyncio::sleep(Duration::from_micros(300)).await;
            }
            poll_fn(|context| {
                if left == 0 {
                    return Poll::Ready(());
                }
                left -= 1;
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        })
    });
    if let Ok(Err(error)) = &result {
        let is_interrupted = error.kind() == ErrorKind::Interrupted;
        world.check(is_interrupted, || format!("block_on: {error}"));
    }
    // The number of its iterations is not known.
    after_turn(world, event_loop, false);
}

fn after_turn(world: &Rc<World>, event_loop: &mut Loop, is_complete: bool) {
    let replaced = world.replaced.take();
    let is_complete = is_complete && replaced.is_none();
    if let Some(own) = replaced {
        *event_loop = own;
    }
    if is_complete {
        world.check_calls();
        world.check_timers();
        world.check_sources(event_loop);
        world.check_signals();
        world.check_tasks();
    }
    world.pipes.drain(world);
    world.clients.drain(world);
    world.turn.set(world.turn.get() + 1);
}
