//! Edge-triggered delivery: changes of readiness are reported. Spurious edges are allowed, so these
//! cases only check that each due event is reported, and that events do not repeat for ever.

use std::io::Write;

use polyselect::{Backend, Ready};

use crate::support::*;

cases! {
    an_edge_is_reported_once_and_again_when_more_arrives needs edge,
    modify_reports_readiness_again needs edge,
    rebuilding_reports_readiness_again needs edge,
    each_direction_has_edges_of_its_own needs edge,
    readiness_at_registration_is_reported needs edge,
    an_end_of_stream_is_an_edge needs edge,
}

/// Collects the pending events, and fails if they do not end.
fn settle<S, D>(selector: &mut polyselect::Selector<S, D>) {
    for _ in 0..10 {
        if select(selector, A_WHILE).is_empty() {
            return;
        }
    }
    panic!("edges without end");
}

fn an_edge_is_reported_once_and_again_when_more_arrives(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R.edge(), ()).unwrap();
    for undrained in 0..5 {
        right.write_all(b"!").unwrap();
        wait_until(&mut selector, key, Ready::READABLE);
        settle(&mut selector);
        if undrained % 2 == 0 {
            drain(selector[key].source());
        }
    }
}

fn modify_reports_readiness_again(backend: Backend) {
    let (left, mut right) = pair();
    right.write_all(b"!").unwrap();
    wait_for_data(&left);
    let mut selector = open(backend);
    let key = selector.register(left, R.edge(), ()).unwrap();
    wait_until(&mut selector, key, Ready::READABLE);
    settle(&mut selector);
    for interest in [R, R | W, R] {
        selector.modify(key, interest).unwrap();
        assert!(selector[key].watch().is_edge());
        wait_until(&mut selector, key, Ready::from(interest));
        settle(&mut selector);
    }
    // Not readable and readable again before the next wait is reported as well.
    selector.modify(key, W).unwrap();
    selector.modify(key, R).unwrap();
    wait_until(&mut selector, key, Ready::READABLE);
    settle(&mut selector);
    selector.modify(key, NOTHING).unwrap();
    right.write_all(b"!").unwrap();
    expect_silence(&mut selector);
    selector.modify(key, R).unwrap();
    wait_until(&mut selector, key, Ready::READABLE);
}

fn rebuilding_reports_readiness_again(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R.edge(), ()).unwrap();
    right.write_all(b"!").unwrap();
    wait_until(&mut selector, key, Ready::READABLE);
    settle(&mut selector);
    for target in Backend::available().filter(|target| target.capabilities().edge) {
        selector.rebuild_with(target).unwrap();
        wait_until(&mut selector, key, Ready::READABLE);
        settle(&mut selector);
    }
}

fn each_direction_has_edges_of_its_own(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, (R | W).edge(), ()).unwrap();
    wait_until(&mut selector, key, Ready::WRITABLE);
    settle(&mut selector);
    right.write_all(b"!").unwrap();
    wait_until(&mut selector, key, Ready::READABLE);
    settle(&mut selector);
    drain(selector[key].source());
    fill(selector[key].source());
    settle(&mut selector);
    drain(&right);
    wait_until(&mut selector, key, Ready::WRITABLE);
}

fn readiness_at_registration_is_reported(backend: Backend) {
    let (left, mut right) = pair();
    right.write_all(b"!").unwrap();
    wait_for_data(&left);
    let mut selector = open(backend);
    let key = selector.register(left, R.edge(), ()).unwrap();
    wait_until(&mut selector, key, Ready::READABLE);
}

fn an_end_of_stream_is_an_edge(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R.edge(), ()).unwrap();
    right.write_all(b"!").unwrap();
    wait_until(&mut selector, key, Ready::READABLE);
    drain(selector[key].source());
    settle(&mut selector);
    drop(right);
    wait_until(&mut selector, key, Ready::READABLE);
    settle(&mut selector);
}
