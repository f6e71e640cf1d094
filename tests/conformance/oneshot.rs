//! One-shot delivery: reported once, then disarmed until re-armed.

use std::io::Write;
use std::net::Shutdown;

use polyselect::{Backend, Ready};

use crate::support::*;

cases! {
    a_oneshot_fires_once_and_is_silent_even_when_the_peer_goes needs oneshot,
    modify_to_the_same_interest_rearms_a_oneshot needs oneshot,
    a_oneshot_waits_for_its_event needs oneshot,
    a_full_half_closed_socket_does_not_spin needs oneshot,
    a_oneshot_that_has_fired_stays_disarmed_when_the_selector_is_rebuilt needs oneshot,
    several_oneshots_fire_in_one_batch needs oneshot,
    an_edge_that_is_a_oneshot_fires_once needs edge oneshot,
}

fn a_oneshot_fires_once_and_is_silent_even_when_the_peer_goes(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R.oneshot(), ()).unwrap();
    right.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    expect_silence(&mut selector);
    right.write_all(b"!").unwrap();
    reset(right);
    expect_silence(&mut selector);
    // It is still registered.
    assert!(selector.contains(key));
    drop(selector.unregister(key).unwrap());
}

fn modify_to_the_same_interest_rearms_a_oneshot(backend: Backend) {
    let (left, mut right) = pair();
    right.write_all(b"!").unwrap();
    wait_for_data(&left);
    let mut selector = open(backend);
    let key = selector.register(left, R.oneshot(), ()).unwrap();
    for (interest, ready) in [
        (R, Ready::READABLE),
        (W, Ready::WRITABLE),
        (R | W, Ready::READABLE | Ready::WRITABLE),
        (R, Ready::READABLE),
    ] {
        selector.modify(key, interest).unwrap();
        assert_eq!(expect_one(&mut selector, key), ready);
        expect_silence(&mut selector);
        assert!(selector[key].watch().is_oneshot());
    }
    selector.modify(key, NOTHING).unwrap();
    expect_silence(&mut selector);
    selector.modify(key, R).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
}

fn a_oneshot_waits_for_its_event(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R.oneshot(), ()).unwrap();
    for _ in 0..3 {
        expect_silence(&mut selector);
    }
    right.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
}

/// Half-closed and full: nothing in the interest is ready, although the kernel reports the socket
/// all the time.
fn a_full_half_closed_socket_does_not_spin(backend: Backend) {
    let (left, right) = pair();
    let mut selector = open(backend);
    right.shutdown(Shutdown::Write).unwrap();
    wait_for_data(&left); // the end of the stream
    fill_up(&left);
    let key = selector.register(left, W.oneshot(), ()).unwrap();
    let (time, waited) = processor_time(|| {
        assert!(select(&mut selector, 10 * A_WHILE).is_empty());
    });
    assert!(time < waited / 2, "{time:?} of {waited:?}");
    drain(&right);
    assert!(expect_one(&mut selector, key).contains(Ready::WRITABLE));
    expect_silence(&mut selector);
}

fn a_oneshot_that_has_fired_stays_disarmed_when_the_selector_is_rebuilt(backend: Backend) {
    let (left, mut right) = pair();
    let (other, mut other_right) = pair();
    let mut selector = open(backend);
    let spent = selector.register(left, R.oneshot(), ()).unwrap();
    let armed = selector.register(other, R.oneshot(), ()).unwrap();
    right.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, spent), Ready::READABLE);
    for target in Backend::available().filter(|target| target.capabilities().oneshot) {
        selector.rebuild_with(target).unwrap();
        expect_silence(&mut selector);
        selector.rebuild_with(backend).unwrap();
        expect_silence(&mut selector);
    }
    other_right.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, armed), Ready::READABLE);
    selector.modify(spent, R).unwrap();
    selector.rebuild().unwrap();
    assert_eq!(expect_one(&mut selector, spent), Ready::READABLE);
    expect_silence(&mut selector);
}

fn several_oneshots_fire_in_one_batch(backend: Backend) {
    let mut selector = open(backend);
    let mut peers = Vec::new();
    for number in 0..40 {
        let (left, mut right) = pair();
        right.write_all(b"!").unwrap();
        wait_for_data(&left);
        selector.register(left, R.oneshot(), number).unwrap();
        peers.push(right);
    }
    let mut seen = vec![0; 40];
    while seen.contains(&0) {
        for event in expect_events(&mut selector) {
            seen[*selector[event.key].data()] += 1;
        }
    }
    expect_silence(&mut selector);
    assert!(seen.iter().all(|&times| times == 1), "{seen:?}");
}

fn an_edge_that_is_a_oneshot_fires_once(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R.edge().oneshot(), ()).unwrap();
    right.write_all(b"!").unwrap();
    assert!(expect_one(&mut selector, key).contains(Ready::READABLE));
    right.write_all(b"!").unwrap();
    expect_silence(&mut selector);
    selector.modify(key, R).unwrap();
    assert!(expect_one(&mut selector, key).contains(Ready::READABLE));
    expect_silence(&mut selector);
}
