//! The failures that `explore` finds, how it shortens them, and how one is run again.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use polyselect::testing::{Disorder, Faults, Lab, explore, first_failure};
use polyselect::{EventLoop, Events, Interest, Next, Selector};

use crate::sockets::stream_pair;

const SECOND: Duration = Duration::from_secs(1);

/// Fails when the second of two ready sources is reported first.
fn fails_when_the_order_changes(lab: &Lab) {
    let mut selector = Selector::new().unwrap();
    let mut peers = Vec::new();
    for number in 0..2 {
        let (source, peer) = stream_pair().unwrap();
        selector.register(source, Interest::READABLE, number).unwrap();
        peers.push(peer);
    }
    // These decisions have no part in the failure.
    let other = lab.flaky(stream_pair().unwrap().0, Faults { reset: 128, ..Faults::none() });
    for _ in 0..10 {
        _ = (&other).read(&mut []).is_ok();
    }
    peers.iter_mut().for_each(|peer| peer.write_all(b"x").unwrap());
    let mut events = Events::with_capacity(8);
    selector.select(&mut events, SECOND).unwrap();
    let first = *selector[events.iter().next().unwrap().key].data();
    assert_eq!(first, 0, "the wrong order");
}

#[test]
fn a_failure_is_shortened_to_the_decision_that_makes_it() {
    let failure =
        first_failure(0..100, Disorder::promised(), fails_when_the_order_changes).unwrap();
    assert!(failure.message.contains("the wrong order"), "{failure}");
    assert!(failure.message.contains(file!()), "{failure}");
    assert_eq!(failure.enough.len(), 1, "{failure}");
    assert!(failure.decisions > 1, "{failure}");
    let decided = failure.log.lines().filter(|line| line.contains("decision"));
    assert!(decided.eq(failure.log.lines().filter(|line| line.contains("another order"))));
}

#[test]
fn a_failure_without_any_decision_needs_none() {
    let fails = |lab: &Lab| {
        let mut event_loop = EventLoop::new(()).unwrap();
        event_loop.call_later(SECOND, |_loop| ());
        event_loop.run().unwrap();
        assert!(lab.elapsed() < SECOND, "always");
    };
    let failure = first_failure(5..10, Disorder::network(), fails).unwrap();
    assert_eq!((failure.seed, failure.enough.len()), (5, 0));
}

#[test]
fn the_numbers_that_a_test_draws_stay_when_a_failure_is_shortened() {
    let fails = |lab: &Lab| {
        let mut event_loop = EventLoop::new(()).unwrap();
        event_loop.call_later(SECOND, |_loop| ());
        event_loop.run().unwrap();
        assert!(lab.below(5) != 3, "a three");
    };
    let failure = first_failure(0..100, Disorder::network(), fails).unwrap();
    assert!(failure.message.contains("a three") && failure.enough.is_empty(), "{failure}");
}

#[test]
fn a_loop_that_outlives_its_run_is_a_failure() {
    let leaks = |_lab: &Lab| {
        let event_loop = Rc::new(RefCell::new(EventLoop::new(()).unwrap()));
        let owner = Rc::clone(&event_loop);
        let (source, _peer) = stream_pair().unwrap();
        let keep = move |_: &mut _, _: &_, _| {
            let _owner = &owner;
            Ok(Next::Keep)
        };
        event_loop.borrow_mut().register(source, Interest::READABLE, keep).unwrap();
    };
    let failure = first_failure(0..1, Disorder::none(), leaks).unwrap();
    assert!(failure.message.contains("not dropped"), "{failure}");
    assert!(failure.message.contains("1 sources"), "{failure}");
}

#[cfg(unix)] // By an `fstat` of its number.
#[test]
fn a_source_that_stays_open_is_a_failure() {
    let leaks = |_lab: &Lab| {
        let mut selector = Selector::new().unwrap();
        let (source, _peer) = stream_pair().unwrap();
        let key = selector.register(source, Interest::READABLE, ()).unwrap();
        std::mem::forget(selector.unregister(key).unwrap());
    };
    let failure = first_failure(0..1, Disorder::none(), leaks).unwrap();
    assert!(failure.message.contains("still open"), "{failure}");
}

#[cfg(unix)]
#[test]
fn the_seed_of_a_source_that_stays_open_is_found_later() {
    let leaks = |lab: &Lab| {
        let mut selector = Selector::new().unwrap();
        let (source, _peer) = stream_pair().unwrap();
        let key = selector.register(source, Interest::READABLE, ()).unwrap();
        let registration = selector.unregister(key).unwrap();
        if lab.seed() == 4 {
            std::mem::forget(registration);
        }
    };
    let failure = first_failure(0..10, Disorder::none(), leaks).unwrap();
    assert_eq!(failure.seed, 4, "{failure}");
    assert!(failure.message.contains("still open"), "{failure}");
    assert!(!failure.message.contains("outside of the lab"), "{failure}");
}

#[test]
fn a_source_that_was_open_before_a_run_may_stay_open() {
    let (source, mut peer) = stream_pair().unwrap();
    peer.write_all(b"x").unwrap();
    explore(0..3, Disorder::none(), |_lab| {
        let mut selector = Selector::new().unwrap();
        selector.register(&source, Interest::READABLE, ()).unwrap();
        assert_eq!(selector.select(&mut Events::with_capacity(1), SECOND).unwrap(), 1);
    });
}

#[test]
fn a_loop_may_be_dropped_with_sources_timers_and_tasks() {
    explore(0..3, Disorder::none(), |_lab| {
        let mut event_loop = EventLoop::new(()).unwrap();
        let (source, _peer) = stream_pair().unwrap();
        event_loop.register(source, Interest::READABLE, |_, _, _| Ok(Next::Keep)).unwrap();
        event_loop.call_later(SECOND, |_loop| ());
        event_loop.spawn(std::future::pending::<()>()).detach();
        event_loop.turn(Duration::ZERO).unwrap();
    });
}

#[test]
fn a_thread_without_a_guard_is_a_failure_that_names_the_guard() {
    let wakes = |_lab: &Lab| {
        let mut event_loop = EventLoop::new(()).unwrap();
        let remote = event_loop.remote().unwrap();
        let thread = std::thread::spawn(move || remote.call(EventLoop::stop).unwrap());
        event_loop.run().unwrap();
        thread.join().unwrap();
    };
    let failure = first_failure(0..1, Disorder::none(), wakes).unwrap();
    assert!(failure.message.contains("Lab::outside"), "{failure}");
}

#[test]
fn a_thread_may_wake_the_loop_under_a_guard() {
    explore(0..10, Disorder::network(), |lab| {
        let mut event_loop = EventLoop::new(()).unwrap();
        let remote = event_loop.remote().unwrap();
        let thread = lab.thread(move || remote.call(EventLoop::stop).unwrap());
        event_loop.run().unwrap();
        thread.join().unwrap();
    });
}

#[cfg(unix)]
#[test]
fn a_thread_without_a_guard_that_writes_to_a_wire_is_a_failure() {
    let writes = |lab: &Lab| {
        let (mut sender, receiver, _wire) =
            lab.stream_pair(polyselect::testing::Link::new()).unwrap();
        let mut selector = Selector::new().unwrap();
        selector.register(receiver, Interest::READABLE, ()).unwrap();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            sender.write_all(b"x").unwrap();
        });
        selector.select(&mut Events::with_capacity(1), None).unwrap();
        thread.join().unwrap();
    };
    // On a busy machine the thread may exceed the lab's patience.
    let is_reported = |seed| {
        let failure = first_failure(seed..seed + 1, Disorder::none(), writes).unwrap();
        failure.message.contains("Lab::outside")
    };
    assert!((0..10).any(is_reported));
}

#[test]
fn a_thread_without_a_guard_that_makes_a_source_ready_is_a_failure() {
    let writes = |_lab: &Lab| {
        let mut selector = Selector::new().unwrap();
        let (source, mut peer) = stream_pair().unwrap();
        selector.register(source, Interest::READABLE, ()).unwrap();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            peer.write_all(b"x").unwrap();
        });
        selector.select(&mut Events::with_capacity(1), None).unwrap();
        thread.join().unwrap();
    };
    // On a busy machine the thread may exceed the lab's patience.
    let failure = first_failure(0..1, Disorder::none(), writes).unwrap();
    let expected = ["Lab::outside", "nothing is left that could come"];
    assert!(expected.iter().any(|text| failure.message.contains(text)), "{failure}");
}

#[test]
fn panics_of_a_run_are_reported_with_their_place() {
    let failure = first_failure(7..8, Disorder::none(), |_lab| panic!("on purpose")).unwrap();
    assert!(failure.message.starts_with("on purpose"), "{failure}");
    assert!(failure.message.contains(&format!("{}:{}", file!(), line!() - 2)), "{failure}");
    assert!(failure.to_string().contains("panics_of_a_run_are_reported_with_their_place"));
}
