//! The end of a program: everything owed is delivered, everything ends, and nothing is left.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::lab::{long, longest};
use super::program::turn;
use super::world::{Loop, World};

static IS_IMPATIENT: AtomicBool = AtomicBool::new(false);

/// The time limit for events that must happen. After a failure, shrinking uses a shorter one.
pub fn patience() -> Duration {
    let is_impatient = IS_IMPATIENT.load(Ordering::Relaxed);
    Duration::from_secs(if is_impatient { 2 } else { 20 })
}

pub fn be_impatient() {
    IS_IMPATIENT.store(true, Ordering::Relaxed);
}

pub fn finish(world: &Rc<World>, mut event_loop: Loop) -> Result<(), String> {
    world.outcome()?;
    world.is_ending.set(true);
    if !world.is_dropped_at_end.get() {
        end_all(world, &mut event_loop)?;
    }
    world.tasks.is_loop_dropped.set(true);
    // Destructors run no steps now, and any panic in them is a fault.
    drop(event_loop);
    world.release();
    world.outcome()?;
    nothing_is_left(world)
}

/// Delivers everything that is owed, and ends what would run on.
fn end_all(world: &Rc<World>, event_loop: &mut Loop) -> Result<(), String> {
    wait_until(world, event_loop, |_| {
        let owed = [
            world.calls.are_owed().then(|| "calls have not run".to_owned()),
            world.signals.are_owed().then(|| "handlers of signals have not run".to_owned()),
            world.children.are_owed().then(|| "callbacks of children have not run".to_owned()),
            world.pipes.unread(),
            world.clients.unanswered(),
        ];
        owed.into_iter().flatten().next()
    })?;
    for timer in world.timers.keys() {
        let result = event_loop.cancel(timer);
        world.check(result.is_ok(), || format!("a timer is not known: {result:?}"));
    }
    world.timers.forget_all();
    world.end_sources(event_loop);
    world.end_signals(event_loop);
    drop((world.local.take(), world.remote.take()));
    world.pipes.hang_up_all();
    world.clients.release();
    world.servers.release();
    world.tasks.detach_all();
    wait_until(world, event_loop, |event_loop| {
        let tasks = event_loop.stats().tasks;
        (tasks > 0).then(|| format!("{tasks} tasks go on, of {:?}", world.tasks.left()))
    })?;
    world.pipes.release();
    // Sources that were dropped are unregistered in the next iteration, and timers of their tasks cancelled.
    turn(world, event_loop, Duration::ZERO);
    turn(world, event_loop, Duration::ZERO);
    let stats = event_loop.stats();
    let left = [stats.sources, stats.pending_timers, stats.pending_calls, stats.tasks];
    if left != [0; 4] {
        return Err(format!("sources, timers, calls and tasks are left: {left:?}"));
    }
    world.outcome()?;
    event_loop.run().map_err(|error| format!("run: {error}"))
}

fn wait_until(
    world: &Rc<World>,
    event_loop: &mut Loop,
    missing: impl Fn(&Loop) -> Option<String>,
) -> Result<(), String> {
    let deadline = world.now() + longest();
    while let Some(missing) = missing(event_loop) {
        world.outcome()?;
        if world.now() > deadline {
            return Err(format!("{missing}, after {:?}:\n{}", longest(), event_loop.dump()));
        }
        turn(world, event_loop, long(50_000));
        // Where a source is always ready, time would stand still.
        world.lab.pass(long(1));
    }
    world.outcome()
}

fn nothing_is_left(world: &Rc<World>) -> Result<(), String> {
    // Abandoned work ends on its own thread, and an abandoned process by itself.
    comes_true(|| Arc::strong_count(&world.of_threads) == 1);
    if !comes_true(|| !world.processes.are_left()) {
        return Err("a process is left".to_owned());
    }
    let (sources, pipes, tasks) = (world.sources.left(), world.pipes.left(), world.tasks.left());
    if (sources.len(), pipes.len(), tasks.len()) != (0, 0, 0) {
        return Err(format!("not dropped: sources {sources:?}, pipes {pipes:?}, tasks {tasks:?}"));
    }
    let wakers = world.wakers.left();
    if wakers > 0 {
        return Err(format!("{wakers} wakers have an owner"));
    }
    // Each callback, task and source held a clone.
    let (owners, calls) = (Rc::strong_count(world) - 1, Arc::strong_count(&world.of_threads) - 1);
    if (owners, calls) != (0, 0) {
        return Err(format!("{owners} parts of callbacks, and {calls} calls of threads are left"));
    }
    Ok(())
}

/// Waits for an effect of other threads and processes. Returns whether it happened.
pub fn comes_true(condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > patience() {
            return false;
        }
        thread::yield_now();
    }
    true
}

/// Runs iterations, which may panic because a step requested it.
pub fn panics_as_planned<R>(world: &World, work: impl FnOnce() -> R) -> Result<R, ()> {
    world.is_in_turn.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    world.is_in_turn.set(false);
    match result {
        Ok(result) => Ok(result),
        Err(panic) if super::timers::is_planned(&*panic) => Err(()),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
