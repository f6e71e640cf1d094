//! Time for tasks: never early, and cancelled with its waiter.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use polyselect::Backend;
use polyselect::asyncio::{self, Elapsed};

use crate::event_loop::open;
use crate::support::*;

cases! {
    sleeping_is_never_too_short_and_ends_in_order in virtual time,
    sleeping_until_a_past_moment_ends_immediately in virtual time,
    sleeping_forever_is_not_an_error in virtual time,
    a_dropped_sleep_leaves_no_timer in virtual time,
    a_timeout_returns_an_output_that_is_in_time in virtual time,
    a_timeout_drops_a_future_that_is_late in virtual time,
    yield_now_lets_other_tasks_run,
}

fn sleeping_is_never_too_short_and_ends_in_order(backend: Backend) {
    let mut event_loop = open(backend, ());
    let order = Rc::new(Cell::new(0_u64));
    let start = now();
    let tasks: Vec<_> = (0..50_u64)
        .map(|step| {
            // 17 and 50 have no common factor.
            let place = step * 17 % 50;
            let (deadline, order) = (start + Duration::from_micros(place * 200), Rc::clone(&order));
            event_loop.spawn(async move {
                asyncio::sleep_until(deadline).await;
                assert!(now() >= deadline);
                assert_eq!(order.replace(order.get() + 1), place);
            })
        })
        .collect();
    for task in tasks {
        event_loop.block_on(task).unwrap().unwrap();
    }
    let start = now();
    event_loop.block_on(asyncio::sleep(A_WHILE)).unwrap();
    assert!(now() - start >= A_WHILE);
}

fn sleeping_until_a_past_moment_ends_immediately(backend: Backend) {
    let mut event_loop = open(backend, ());
    let start = now();
    event_loop.block_on(asyncio::sleep_until(start)).unwrap();
    event_loop.block_on(asyncio::sleep(Duration::ZERO)).unwrap();
    assert!(now() - start < SURELY);
}

fn sleeping_forever_is_not_an_error(backend: Backend) {
    let mut event_loop = open(backend, ());
    let endless = asyncio::timeout(Duration::MAX, asyncio::sleep(Duration::MAX));
    let result = event_loop.block_on(asyncio::timeout(A_WHILE, endless)).unwrap();
    assert_eq!(result, Err(Elapsed));
}

fn a_dropped_sleep_leaves_no_timer(backend: Backend) {
    let mut event_loop = open(backend, ());
    let sleeping = event_loop.spawn(asyncio::sleep(SURELY));
    event_loop.turn(Duration::ZERO).unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
    assert_eq!(event_loop.stats().pending_timers, 1);
    drop(sleeping);
    event_loop.turn(Duration::ZERO).unwrap();
    assert_eq!(event_loop.stats().pending_timers, 0);
    // Dropped before the loop has seen it.
    event_loop.block_on(asyncio::timeout(SURELY, async {})).unwrap().unwrap();
    event_loop
        .block_on(async {
            let mut sleep = asyncio::sleep(SURELY);
            let poll = std::future::poll_fn(|context| {
                std::task::Poll::Ready(std::pin::Pin::new(&mut sleep).poll(context).is_ready())
            });
            assert!(!poll.await);
        })
        .unwrap();
    assert_eq!(event_loop.stats().pending_timers, 0);
}

fn a_timeout_returns_an_output_that_is_in_time(backend: Backend) {
    let mut event_loop = open(backend, ());
    let future = async {
        asyncio::yield_now().await;
        3
    };
    assert_eq!(event_loop.block_on(asyncio::timeout(SURELY, future)).unwrap(), Ok(3));
    // A ready result wins over an elapsed deadline.
    let ready = asyncio::timeout(Duration::ZERO, async { 4 });
    assert_eq!(event_loop.block_on(ready).unwrap(), Ok(4));
}

fn a_timeout_drops_a_future_that_is_late(backend: Backend) {
    let mut event_loop = open(backend, ());
    let kept = Rc::new(());
    let late = {
        let kept = Rc::clone(&kept);
        async move {
            let _kept = kept;
            pending::<()>().await;
        }
    };
    let start = now();
    let result = event_loop.block_on(async {
        let result = asyncio::timeout(A_WHILE, late).await;
        (result, Rc::strong_count(&kept))
    });
    assert_eq!(result.unwrap(), (Err(Elapsed), 1));
    assert!((A_WHILE..SURELY).contains(&(now() - start)));
}

fn yield_now_lets_other_tasks_run(backend: Backend) {
    let mut event_loop = open(backend, 0);
    event_loop.call_later(Duration::ZERO, |event_loop| event_loop.state += 1);
    event_loop.call_soon(|event_loop| event_loop.state += 1);
    let turns = event_loop.stats().turns;
    event_loop
        .block_on(async {
            for _ in 0..3 {
                asyncio::yield_now().await;
            }
        })
        .unwrap();
    assert_eq!((event_loop.stats().turns - turns, event_loop.state), (3, 2));
}
