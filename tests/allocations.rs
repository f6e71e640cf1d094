//! Code that runs all the time allocates nothing: iterations with events, repeating timers, and
//! tasks that wait, are woken and wait again.

#![cfg(unix)]

use std::alloc::System;
use std::io::{PipeReader, PipeWriter, Write};
use std::time::Duration;

use polyselect::{EventLoop, Interest, Next};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PIPES: usize = 10;

fn pipes() -> Vec<(PipeReader, PipeWriter)> {
    (0..PIPES).map(|_| std::io::pipe().expect("opens")).collect()
}

/// Runs 10,000 iterations after a warm-up of 1,000; fails if they allocate.
fn steadily<T: 'static>(name: &str, event_loop: &mut EventLoop<T>) {
    let mut turn = |times| {
        for _ in 0..times {
            event_loop.turn(None).expect("turns");
        }
    };
    turn(1000);
    let region = Region::new(ALLOCATOR);
    turn(10_000);
    let change = region.change();
    let counted = change.allocations + change.reallocations + change.deallocations;
    assert_eq!(counted, 0, "{name}: {change:?}");
}

/// One test, because its counts are for the whole process.
#[test]
fn nothing_is_allocated_in_a_steady_state() {
    let mut event_loop = EventLoop::new(0_u64).expect("opens");
    for (reader, mut writer) in pipes() {
        writer.write_all(b"x").expect("there is room");
        let pass_on = move |event_loop: &mut EventLoop<u64>, mut reader: &PipeReader, _event| {
            std::io::Read::read(&mut reader, &mut [0])?;
            event_loop.state += 1;
            writer.write_all(b"x")?;
            Ok(Next::Keep)
        };
        event_loop.register(reader, Interest::READABLE, pass_on).expect("registers");
    }
    event_loop.call_every(Duration::from_micros(100), |event_loop, _timer| event_loop.state += 1);
    steadily("callbacks", &mut event_loop);

    #[cfg(feature = "async")]
    {
        use polyselect::asyncio::{self, Async};

        let mut event_loop = EventLoop::new(()).expect("opens");
        for (reader, mut writer) in pipes() {
            writer.write_all(b"x").expect("there is room");
            let reader = Async::new(reader).expect("is non-blocking");
            let task = async move {
                loop {
                    // The buffer has room left, so it is read once for each event.
                    reader.read(&mut [0; 2]).await.expect("reads");
                    writer.write_all(b"x").expect("there is room");
                    reader.readable().await.expect("waits");
                }
            };
            event_loop.spawn(task).detach();
        }
        event_loop
            .spawn(async {
                loop {
                    asyncio::yield_now().await;
                }
            })
            .detach();
        steadily("tasks", &mut event_loop);
    }
}
