//! When the time of a lab stands still, jumps, and runs at the real pace.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use polyselect::testing::{Disorder, Lab};
use polyselect::{EventLoop, Events, Interest, Next, Selector, asyncio};

use crate::sockets::{listen, stream_pair};

const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

fn lab() -> Lab {
    Lab::new(1, Disorder::none())
}

fn message_of(work: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(work)).unwrap_err();
    panic
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| (*panic.downcast_ref::<&str>().expect("a panic with a text")).to_owned())
}

#[test]
fn timers_run_at_their_deadlines_and_take_no_time() {
    let (lab, start) = (lab(), Instant::now());
    let mut event_loop = EventLoop::in_lab(&lab, Vec::new()).unwrap();
    for hours in [3, 1, 2] {
        event_loop.call_later(hours * HOUR, move |event_loop| {
            let now = event_loop.now();
            event_loop.state.push((hours, now));
        });
    }
    let begin = event_loop.now();
    event_loop.run().unwrap();
    let expected: Vec<_> = (1..4).map(|hours| (hours, begin + hours * HOUR)).collect();
    assert_eq!(event_loop.state, expected);
    assert!(start.elapsed() < HOUR);
}

#[test]
fn time_stands_still_in_callbacks_and_in_waits_of_zero() {
    let lab = lab();
    let mut event_loop = EventLoop::in_lab(&lab, ()).unwrap();
    let before = lab.now();
    event_loop.call_soon(|_loop| std::thread::sleep(2 * MS));
    event_loop.call_later(MS, |_loop| ());
    for _ in 0..10 {
        event_loop.turn(Duration::ZERO).unwrap();
    }
    assert_eq!(lab.now(), before);
    assert_eq!(event_loop.turn(None).unwrap().timers, 1);
    assert_eq!(lab.elapsed(), MS);
}

#[test]
fn a_bare_selector_waits_for_its_whole_timeout_and_no_longer() {
    let lab = lab();
    let mut selector = Selector::in_lab(&lab, None).unwrap();
    let (mut left, right) = stream_pair().unwrap();
    selector.register(right, Interest::READABLE, ()).unwrap();
    let mut events = Events::with_capacity(8);
    for timeout in [7 * HOUR, Duration::from_nanos(1), 60 * 24 * HOUR] {
        lab.set_limit(100 * 24 * HOUR);
        let before = selector.now();
        assert_eq!(selector.select(&mut events, timeout).unwrap(), 0);
        assert_eq!(selector.now() - before, timeout);
    }
    left.write_all(b"!").unwrap();
    let before = selector.now();
    assert_eq!(selector.select(&mut events, HOUR).unwrap(), 1);
    assert_eq!(selector.now(), before);
}

#[test]
fn tasks_sleep_and_time_out_in_the_time_of_the_lab() {
    let lab = lab();
    let mut event_loop = EventLoop::in_lab(&lab, ()).unwrap();
    let early = asyncio::sleep(HOUR); // Made before the loop polls anything.
    event_loop
        .block_on(async {
            early.await;
            assert_eq!(lab.elapsed(), HOUR);
            let start = asyncio::now();
            asyncio::timeout(2 * HOUR, std::future::pending::<()>()).await.unwrap_err();
            asyncio::sleep_until(start + 5 * HOUR).await;
            assert_eq!(asyncio::now() - start, 5 * HOUR);
        })
        .unwrap();
    assert_eq!(lab.elapsed(), 6 * HOUR);
}

#[test]
fn code_that_makes_its_own_loop_is_in_the_lab_that_the_thread_is_in() {
    let lab = lab();
    let in_lab = lab.enter();
    let event_loop = EventLoop::new(()).unwrap();
    assert_eq!(event_loop.now(), lab.now());
    drop(in_lab);
    let outside = EventLoop::new(()).unwrap();
    assert!(outside.now() < Instant::now() + HOUR);
}

#[test]
fn time_goes_as_it_does_outside_while_a_thread_works() {
    let lab = lab();
    let mut event_loop = EventLoop::in_lab(&lab, Vec::new()).unwrap();
    let remote = event_loop.remote().unwrap();
    let thread = lab.thread(move || {
        std::thread::sleep(10 * MS);
        remote.call(|event_loop| event_loop.state.push("answer")).unwrap();
    });
    let timeout = event_loop.call_later(HOUR, |event_loop| event_loop.state.push("timeout"));
    while event_loop.state.is_empty() {
        event_loop.turn(None).unwrap();
    }
    thread.join().unwrap();
    assert_eq!(event_loop.state, ["answer"]);
    assert!((10 * MS..HOUR).contains(&lab.elapsed()));
    event_loop.cancel(timeout).unwrap();
}

#[test]
fn who_advances_the_clock_in_a_callback_is_reported_as_slow() {
    let lab = lab();
    let mut event_loop = EventLoop::in_lab(&lab, ()).unwrap();
    event_loop.set_slow_callback_threshold(100 * MS);
    event_loop.call_soon(|_loop| std::thread::sleep(MS));
    let of_call = lab.clone();
    event_loop.call_soon(move |_loop| of_call.advance(150 * MS));
    event_loop.run().unwrap();
    assert_eq!(event_loop.stats().slow_callbacks, 1);
}

#[test]
fn the_rest_of_a_listener_without_descriptors_passes_in_the_time_of_the_lab() {
    use polyselect::testing::Faults;

    let lab = lab();
    let (listener, connect) = listen();
    let mut faults = Faults { exhausted: 255, ..Faults::none() };
    faults.exhausted = 128;
    let mut event_loop = EventLoop::in_lab(&lab, 0).unwrap();
    let key = event_loop
        .accept(lab.flaky(listener, faults), |event_loop, _conn, _address| {
            event_loop.state += 1;
            Ok(())
        })
        .unwrap();
    let clients: Vec<_> = (0..20).map(|_| connect()).collect();
    while event_loop.state < clients.len() {
        event_loop.turn(None).unwrap();
    }
    assert_eq!(lab.elapsed().as_millis() % 100, 0);
    assert!(lab.elapsed() >= 100 * MS);
    event_loop.unregister(key).unwrap();
}

#[test]
fn a_moment_of_the_systems_clock_is_an_error_that_names_now() {
    let lab = lab();
    let mut event_loop = EventLoop::in_lab(&lab, ()).unwrap();
    let message = message_of(|| {
        event_loop.call_at(Instant::now() + HOUR, |_loop| ());
    });
    assert!(message.contains("EventLoop::now"), "{message}");
    let message = message_of(|| {
        event_loop.block_on(asyncio::sleep_until(Instant::now() + HOUR)).unwrap();
    });
    assert!(message.contains("asyncio::now"), "{message}");
}

#[test]
fn a_loop_that_waits_for_what_cannot_come_fails_and_says_what_it_waits_for() {
    let lab = lab();
    let mut event_loop = EventLoop::in_lab(&lab, ()).unwrap();
    let (_left, right) = stream_pair().unwrap();
    event_loop.register(right, Interest::READABLE, |_, _, _| Ok(Next::Keep)).unwrap();
    event_loop.spawn(std::future::pending::<()>()).detach();
    let line = line!() - 2;
    let message = message_of(|| event_loop.run().unwrap());
    assert!(message.contains("nothing is left that could come"), "{message}");
    for line in [line, line + 1] {
        assert!(message.contains(&format!("{}:{line}:", file!())), "{line}: {message}");
    }
}

#[test]
fn a_selector_that_waits_for_what_cannot_come_fails_and_says_what_it_waits_for() {
    let lab = lab();
    let mut selector = Selector::in_lab(&lab, None).unwrap();
    let (_left, right) = stream_pair().unwrap();
    let key = selector.register(right, Interest::READABLE, ()).unwrap();
    let message = message_of(|| {
        selector.select(&mut Events::with_capacity(1), None).unwrap();
    });
    assert!(message.contains(&key.to_string()), "{message}");
}

#[test]
fn a_program_that_retries_for_ever_ends_after_a_day() {
    let lab = lab();
    let mut event_loop = EventLoop::in_lab(&lab, ()).unwrap();
    event_loop.call_every(HOUR, |_loop, _timer| ());
    let message = message_of(|| event_loop.run().unwrap());
    assert!(message.contains("set_limit") && message.contains("a timer, set at"), "{message}");
}

#[test]
fn a_program_that_never_sleeps_ends() {
    let lab = lab();
    let mut event_loop = EventLoop::in_lab(&lab, ()).unwrap();
    let end = event_loop.now() + MS;
    let message = message_of(|| {
        let spin = async {
            while asyncio::now() < end {
                asyncio::yield_now().await;
            }
        };
        event_loop.block_on(spin).unwrap();
    });
    assert!(message.contains("does not sleep"), "{message}");
}

#[test]
fn polling_without_sleeping_has_no_effect_in_a_lab() {
    let lab = lab();
    let mut event_loop = EventLoop::in_lab(&lab, ()).unwrap();
    event_loop.set_busy_poll(HOUR);
    event_loop.call_later(MS, |_loop| ());
    event_loop.run().unwrap();
    assert_eq!(lab.elapsed(), MS);
}

#[test]
fn what_is_left_in_a_loop_is_listed_with_its_place() {
    let lab = lab();
    let mut event_loop = EventLoop::in_lab(&lab, ()).unwrap();
    event_loop.assert_nothing_left();
    let (_left, right) = stream_pair().unwrap();
    let key = event_loop.register(right, Interest::READABLE, |_, _, _| Ok(Next::Keep)).unwrap();
    let line = line!() - 1;
    let message = message_of(|| event_loop.assert_nothing_left());
    assert!(message.contains(&format!("{}:{line}:", file!())), "{message}");
    event_loop.unregister(key).unwrap();
    let timer = event_loop.call_later(HOUR, |_loop| ());
    assert!(message_of(|| event_loop.assert_nothing_left()).contains("a timer, set at"));
    event_loop.cancel(timer).unwrap();
    let task = event_loop.spawn_named("worker", std::future::pending::<()>());
    assert!(message_of(|| event_loop.assert_nothing_left()).contains("worker"));
    drop(task);
    event_loop.run_until_idle().unwrap();
    event_loop.assert_nothing_left();
}
