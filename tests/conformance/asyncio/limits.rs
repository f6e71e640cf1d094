//! Limits and intervals.

use std::future::pending;
use std::time::Duration;

use polyselect::Backend;
use polyselect::asyncio::{self, Elapsed, Timeout};

use crate::event_loop::open;
use crate::support::*;

cases! {
    timeout_at_ends_at_its_moment in virtual time,
    a_timeout_that_is_put_off_in_time_does_not_elapse in virtual time,
    a_timeout_that_another_task_moves_elapses_then in virtual time,
    a_timeout_without_a_deadline_waits in virtual time,
    an_interval_ticks_at_whole_periods in virtual time,
    an_interval_does_not_make_up_for_missed_ticks in virtual time,
    a_tick_is_not_lost_when_waiting_for_it_is_cancelled in virtual time,
}

const PERIOD: Duration = Duration::from_millis(5);

fn timeout_at_ends_at_its_moment(backend: Backend) {
    let mut event_loop = open(backend, ());
    let deadline = event_loop.now() + PERIOD;
    let elapsed = event_loop.block_on(asyncio::timeout_at(deadline, pending::<()>())).unwrap();
    assert_eq!(elapsed, Err(Elapsed));
    assert!(event_loop.now() >= deadline);
    let ready = event_loop.block_on(asyncio::timeout_at(deadline, async { 1 })).unwrap();
    assert_eq!(ready, Ok(1));
}

fn a_timeout_that_is_put_off_in_time_does_not_elapse(backend: Backend) {
    let mut event_loop = open(backend, ());
    let timeout = Timeout::after(SURELY);
    let start = event_loop.now();
    let work = async {
        for _ in 0..3 {
            timeout.reschedule(asyncio::now() + SURELY);
            asyncio::sleep(PERIOD).await;
        }
        "done"
    };
    assert_eq!(event_loop.block_on(timeout.run(work)).unwrap(), Ok("done"));
    assert!(timeout.deadline().unwrap() > start + SURELY);
    assert_eq!(event_loop.stats().pending_timers, 0);
}

fn a_timeout_that_another_task_moves_elapses_then(backend: Backend) {
    let mut event_loop = open(backend, ());
    let timeout = Timeout::after(100 * SURELY);
    let of_task = timeout.clone();
    event_loop
        .spawn(async move {
            asyncio::sleep(PERIOD).await;
            of_task.reschedule(asyncio::now());
        })
        .detach();
    assert_eq!(event_loop.block_on(timeout.run(pending::<()>())).unwrap(), Err(Elapsed));
}

fn a_timeout_without_a_deadline_waits(backend: Backend) {
    let mut event_loop = open(backend, ());
    let timeout = Timeout::after(PERIOD);
    timeout.reschedule(None);
    let work = async {
        asyncio::sleep(3 * PERIOD).await;
        1
    };
    assert_eq!(event_loop.block_on(timeout.run(work)).unwrap(), Ok(1));
}

fn an_interval_ticks_at_whole_periods(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let mut interval = asyncio::interval(PERIOD);
            let first = interval.tick().await;
            let mut last = first;
            for _ in 0..3 {
                let tick = interval.tick().await;
                assert!(asyncio::now() >= tick && tick > last);
                assert_eq!((tick - first).as_nanos() % PERIOD.as_nanos(), 0);
                last = tick;
            }
        })
        .unwrap();
}

fn an_interval_does_not_make_up_for_missed_ticks(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let mut interval = asyncio::interval(PERIOD);
            asyncio::sleep(10 * PERIOD).await;
            let before = asyncio::now();
            assert!(interval.tick().await <= before);
            assert!(interval.tick().await > before);
        })
        .unwrap();
}

fn a_tick_is_not_lost_when_waiting_for_it_is_cancelled(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let mut interval = asyncio::interval(2 * PERIOD);
            let start = asyncio::now();
            let _ = asyncio::timeout(Duration::ZERO, interval.tick()).await;
            let mut other = Box::pin(interval.tick());
            let waker = std::task::Waker::noop();
            let _ = other.as_mut().poll(&mut std::task::Context::from_waker(waker));
            drop(other);
            assert!(interval.tick().await <= start + 2 * PERIOD);
        })
        .unwrap();
}
