//! More ready sources than the capacity: the rest is reported by the next waits, and none starves.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;

use polyselect::{Backend, Events, Ready, Selector};

#[cfg(unix)]
use crate::support::harness::SKIPPED;
use crate::support::*;

cases! {
    no_source_starves_in_a_small_batch,
    sources_that_are_ready_again_soon_do_not_starve_the_others,
    one_shots_in_a_small_batch_all_fire_once needs oneshot,
    edges_in_a_small_batch_all_come needs edge,
    edges_after_a_large_batch_come_in_small_ones needs edge,
    both_directions_are_one_event_in_a_small_batch,
    a_capacity_of_zero_counts_as_one,
    the_waker_takes_no_place_of_an_event,
    a_wake_does_not_double_an_event,
    thousands_of_sources_are_reported_twice,
    #[cfg(unix)]
    one_wait_returns_as_many_events_as_the_capacity,
}

fn many_ready<D: From<u8>>(
    selector: &mut Selector<TcpStream, D>,
    count: u8,
    watch: impl Into<polyselect::Watch> + Copy,
) -> Vec<TcpStream> {
    let mut peers = Vec::new();
    for number in 0..count {
        let (left, mut right) = pair();
        right.write_all(b"!").unwrap();
        wait_for_data(&left);
        selector.register(left, watch, number.into()).unwrap();
        peers.push(right);
    }
    peers
}

fn no_source_starves_in_a_small_batch(backend: Backend) {
    for capacity in [1, 3, 7] {
        let mut selector: Selector<TcpStream, u8> = open(backend);
        let _peers = many_ready(&mut selector, 20, R);
        let mut events = Events::with_capacity(capacity);
        let mut seen = BTreeMap::new();
        for _ in 0..10 * 20 / capacity {
            let count = selector.select(&mut events, SURELY).unwrap();
            // A backend that has checked all of them reports all of them.
            assert!(count >= capacity, "{count} of {capacity}");
            for event in &events {
                *seen.entry(*selector[event.key].data()).or_insert(0) += 1;
            }
        }
        let least = (0..20).map(|number| seen.get(&number).copied().unwrap_or(0)).min();
        assert!(least >= Some(5), "with room for {capacity}: {seen:?}");
    }
}

fn sources_that_are_ready_again_soon_do_not_starve_the_others(backend: Backend) {
    for capacity in [1, 3, 7] {
        let mut selector: Selector<TcpStream, u8> = open(backend);
        let peers = many_ready(&mut selector, 20, R);
        let mut events = Events::with_capacity(capacity);
        let (mut seen, mut drained) = ([0; 20], Vec::<usize>::new());
        for _ in 0..10 * 20 / capacity {
            let send_again = |drained: &mut Vec<usize>| {
                drained.drain(..).for_each(|number| (&peers[number]).write_all(b"!").unwrap());
            };
            if drained.len() == peers.len() {
                send_again(&mut drained); // None of them is ready.
            }
            // One wait does not find the drained ones ready, and the next one does.
            selector.select(&mut events, SURELY).unwrap();
            send_again(&mut drained);
            for event in &events {
                let number = usize::from(*selector[event.key].data());
                seen[number] += 1;
                assert_eq!(drain(selector[event.key].source()), 1);
                drained.push(number);
            }
        }
        assert!(seen.iter().all(|&times| times >= 5), "with room for {capacity}: {seen:?}");
    }
}

fn one_shots_in_a_small_batch_all_fire_once(backend: Backend) {
    let mut selector: Selector<TcpStream, u8> = open(backend);
    let _peers = many_ready(&mut selector, 20, R.oneshot());
    let mut events = Events::with_capacity(3);
    let mut seen = Vec::new();
    while seen.len() < 20 {
        assert!(selector.select(&mut events, SURELY).unwrap() > 0);
        seen.extend(events.iter().map(|event| *selector[event.key].data()));
    }
    expect_silence(&mut selector);
    seen.sort_unstable();
    assert_eq!(seen, Vec::from_iter(0..20));
}

fn edges_in_a_small_batch_all_come(backend: Backend) {
    let mut selector: Selector<TcpStream, u8> = open(backend);
    let _peers = many_ready(&mut selector, 20, R.edge());
    let mut events = Events::with_capacity(3);
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 20 {
        assert!(selector.select(&mut events, SURELY).unwrap() > 0);
        seen.extend(events.iter().map(|event| *selector[event.key].data()));
    }
}

/// A buffer that stayed as large as in the first wait could take more than the second delivers.
fn edges_after_a_large_batch_come_in_small_ones(backend: Backend) {
    let mut selector: Selector<TcpStream, u8> = open(backend);
    selector.select(&mut Events::with_capacity(64), std::time::Duration::ZERO).unwrap();
    let _peers = many_ready(&mut selector, 5, R.edge());
    let mut events = Events::with_capacity(1);
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 5 {
        assert!(selector.select(&mut events, SURELY).unwrap() > 0, "only {seen:?} came");
        seen.extend(events.iter().map(|event| *selector[event.key].data()));
    }
}

fn both_directions_are_one_event_in_a_small_batch(backend: Backend) {
    for capacity in 1..8 {
        let mut selector: Selector<TcpStream, u8> = open(backend);
        let _peers = many_ready(&mut selector, 10, R | W);
        let mut events = Events::with_capacity(capacity);
        for _ in 0..20 {
            assert!(selector.select(&mut events, SURELY).unwrap() >= capacity);
            for event in &events {
                assert_eq!(event.ready, Ready::READABLE | Ready::WRITABLE, "of {capacity}");
            }
        }
    }
}

fn a_capacity_of_zero_counts_as_one(backend: Backend) {
    let mut selector: Selector<TcpStream, u8> = open(backend);
    let _peers = many_ready(&mut selector, 2, R);
    let mut events = Events::with_capacity(0);
    assert!(selector.select(&mut events, SURELY).unwrap() >= 1);
}

fn the_waker_takes_no_place_of_an_event(backend: Backend) {
    for capacity in [1, 2, 3] {
        let mut selector: Selector<TcpStream, u8> = open(backend);
        let _peers = many_ready(&mut selector, 3, R);
        let waker = selector.waker().unwrap();
        let mut events = Events::with_capacity(capacity);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..30 {
            waker.wake().unwrap();
            assert!(selector.select(&mut events, SURELY).unwrap() >= capacity);
            for event in &events {
                assert_eq!(event.ready, Ready::READABLE);
                seen.insert(*selector[event.key].data());
            }
        }
        assert_eq!(seen.len(), 3);
    }
}

fn a_wake_does_not_double_an_event(backend: Backend) {
    let mut selector: Selector<TcpStream, u8> = open(backend);
    let _peers = many_ready(&mut selector, 1, R);
    let waker = selector.waker().unwrap();
    let mut events = Events::with_capacity(2);
    for _ in 0..10 {
        waker.wake().unwrap();
        assert_eq!(selector.select(&mut events, SURELY).unwrap(), 1);
    }
}

/// More ready at once than any internal queue is likely to hold.
fn thousands_of_sources_are_reported_twice(backend: Backend) {
    #[cfg(unix)]
    let most = (process::raise_descriptor_limit() as usize - 64).min(18_000);
    #[cfg(not(unix))]
    let most = 300;

    let mut selector = open(backend);
    for number in (0..most).step_by(2) {
        // Without ports, because all programs together have few more than this number.
        #[cfg(unix)]
        let (left, right) = std::os::unix::net::UnixStream::pair().unwrap();
        #[cfg(not(unix))]
        let (left, right) = pair();
        left.set_nonblocking(true).unwrap();
        right.set_nonblocking(true).unwrap();
        selector.register(left, R, number).unwrap();
        selector.register(right, R, number + 1).unwrap();
    }
    let mut events = Events::with_capacity(20_000);
    for _ in 0..2 {
        assert_eq!(selector.select(&mut events, std::time::Duration::ZERO).unwrap(), 0);
        for (_, registration) in &selector {
            assert_eq!(registration.source().write(b"!").unwrap(), 1);
        }
        let mut seen = vec![false; selector.len()];
        let mut left = seen.len();
        while left > 0 {
            assert!(selector.select(&mut events, SURELY).unwrap() > 0, "{left} are missing");
            for event in &events {
                let number = *selector[event.key].data();
                // A source that was read is not ready any more.
                assert_eq!(drain(selector[event.key].source()), 1);
                assert!(!std::mem::replace(&mut seen[number], true));
                left -= 1;
            }
        }
    }
}

#[cfg(unix)]
fn one_wait_returns_as_many_events_as_the_capacity(backend: Backend) {
    const PAIRS: usize = 1_500;

    if process::raise_descriptor_limit() < 2 * PAIRS as u64 + 64 {
        eprintln!("skipped: too few descriptors");
        std::process::exit(SKIPPED);
    }
    let mut selector = open(backend);
    for _ in 0..PAIRS {
        let (left, right) = std::os::unix::net::UnixStream::pair().unwrap();
        selector.register(left, W, ()).unwrap();
        selector.register(right, W, ()).unwrap();
    }
    let mut events = Events::with_capacity(2 * PAIRS);
    for _ in 0..2 {
        assert_eq!(selector.select(&mut events, SURELY).unwrap(), 2 * PAIRS);
    }
}
