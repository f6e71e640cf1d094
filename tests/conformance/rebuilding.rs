//! `rebuild` and `rebuild_with`: a running selector moves, all or nothing.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use polyselect::{Backend, Ready, Selector};

use crate::support::*;

cases! {
    rebuilding_keeps_keys_data_and_readiness,
    rebuilding_keeps_pending_changes,
    a_backend_without_a_needed_capability_leaves_everything_as_it_was needs edge,
    a_missing_backend_leaves_everything_as_it_was,
}

fn rebuilding_keeps_keys_data_and_readiness(backend: Backend) {
    let mut selector = open(backend);
    let (idle, _peer) = pair();
    let idle = selector.register(idle, R, "idle").unwrap();
    let (ready, mut peer) = pair();
    peer.write_all(b"!").unwrap();
    let ready = selector.register(ready, R, "ready").unwrap();
    let (paused, mut paused_peer) = pair();
    paused_peer.write_all(b"!").unwrap();
    let paused = selector.register(paused, NOTHING, "paused").unwrap();
    for target in Backend::available().chain([backend]) {
        selector.rebuild_with(target).unwrap();
        assert_eq!(selector.backend(), target);
        assert_eq!(expect_one(&mut selector, ready), Ready::READABLE);
        assert_eq!((*selector[idle].data(), *selector[paused].data()), ("idle", "paused"));
    }
    selector.modify(ready, NOTHING).unwrap();
    selector.modify(paused, R).unwrap();
    assert_eq!(expect_one(&mut selector, paused), Ready::READABLE);
    drop(selector.unregister(paused).unwrap());
    drop(selector.unregister(idle).unwrap());
    expect_silence(&mut selector);
}

fn rebuilding_keeps_pending_changes(backend: Backend) {
    let (left, _right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    look(&mut selector);
    for target in Backend::available() {
        selector.modify(key, W).unwrap();
        selector.rebuild_with(target).unwrap();
        assert_eq!(expect_one(&mut selector, key), Ready::WRITABLE);
        selector.modify(key, NOTHING).unwrap();
        selector.rebuild().unwrap();
        expect_silence(&mut selector);
    }
}

fn a_backend_without_a_needed_capability_leaves_everything_as_it_was(backend: Backend) {
    let (edge, mut peer) = pair();
    let (level, mut level_peer) = pair();
    let mut selector = open(backend);
    let edge = selector.register(edge, R.edge(), ()).unwrap();
    let level = selector.register(level, R, ()).unwrap();
    for target in Backend::available().filter(|target| !target.capabilities().edge) {
        let error = selector.rebuild_with(target).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(target.name()), "{error}");
        assert_eq!((selector.backend(), selector.len()), (backend, 2));
        peer.write_all(b"!").unwrap();
        level_peer.write_all(b"!").unwrap();
        wait_until(&mut selector, edge, Ready::READABLE);
        wait_until(&mut selector, level, Ready::READABLE);
    }
}

fn a_missing_backend_leaves_everything_as_it_was(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    let (left, _right) = pair();
    let key = selector.register(left, W, ()).unwrap();
    for &target in Backend::ALL.iter().filter(|target| !target.is_available()) {
        let error = selector.rebuild_with(target).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(target.name()), "{error}");
        assert_eq!(selector.backend(), backend);
    }
    assert_eq!(expect_one(&mut selector, key), Ready::WRITABLE);
}
