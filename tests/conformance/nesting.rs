//! A selector inside another event loop.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use polyselect::{Backend, Events, Ready, Selector};

use crate::case;
use crate::support::harness::Case;
use crate::support::process::close_behind_the_back;
use crate::support::*;

pub const CASES: &[Case] = &[
    case!(who_cannot_says_who_can),
    case!(an_event_before_the_outer_wait needs nesting),
    case!(an_event_during_the_outer_wait needs nesting),
    case!(what_is_left_undone_stays_readable needs nesting),
    case!(changes_take_effect_at_once needs nesting),
    case!(an_always_ready_file_shows needs nesting),
    case!(a_refused_change_shows needs nesting),
    case!(a_wake_shows needs nesting),
    case!(it_stays_when_the_selector_is_rebuilt needs nesting),
    case!(it_stays_when_the_kernel_object_is_renewed needs nesting),
    case!(edges_and_one_shots_are_not_used_up_by_looking needs nesting edge oneshot),
    case!(too_deep_is_an_error needs nesting),
];

fn who_cannot_says_who_can(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    match selector.descriptor() {
        Ok(_) => assert!(backend.abilities().nesting),
        Err(error) => {
            assert!(!backend.abilities().nesting, "{error}");
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    }
}

/// An outer selector of each kind, with a copy of the inner one's descriptor.
fn outers(inner: &mut Selector<TcpStream>) -> Vec<Selector<OwnedFd>> {
    let outer = |backend| {
        let mut outer = open(backend);
        outer.register(inner.descriptor().unwrap().try_clone_to_owned().unwrap(), R, ()).unwrap();
        outer
    };
    Backend::available().map(outer).collect()
}

fn expect_shown(outers: &mut [Selector<OwnedFd>], shown: bool) {
    for outer in outers {
        let found = if shown { select(outer, SURELY) } else { select(outer, A_WHILE) };
        assert_eq!(!found.is_empty(), shown, "on {}", outer.backend());
    }
}

fn an_event_before_the_outer_wait(backend: Backend) {
    let (left, mut right) = pair();
    let mut inner = open(backend);
    let key = inner.register(left, R, ()).unwrap();
    let mut outers = outers(&mut inner);
    expect_shown(&mut outers, false);
    for _ in 0..3 {
        right.write_all(b"!").unwrap();
        expect_shown(&mut outers, true);
        assert_eq!(expect_one(&mut inner, key), Ready::READABLE);
        drain(inner[key].source());
        assert!(look(&mut inner).is_empty());
        expect_shown(&mut outers, false);
    }
}

fn an_event_during_the_outer_wait(backend: Backend) {
    let (left, mut right) = pair();
    let mut inner = open(backend);
    let key = inner.register(left, R, ()).unwrap();
    for mut outer in outers(&mut inner) {
        for _ in 0..3 {
            let thread = thread::spawn(move || {
                thread::sleep(A_WHILE);
                right.write_all(b"!").unwrap();
                right
            });
            assert!(!select(&mut outer, SURELY).is_empty(), "on {}", outer.backend());
            right = thread.join().unwrap();
            assert_eq!(expect_one(&mut inner, key), Ready::READABLE);
            drain(inner[key].source());
            assert!(look(&mut inner).is_empty());
        }
    }
}

fn what_is_left_undone_stays_readable(backend: Backend) {
    let (left, mut right) = pair();
    let mut inner = open(backend);
    let key = inner.register(left, R, ()).unwrap();
    let mut outers = outers(&mut inner);
    right.write_all(b"three").unwrap();
    for _ in 0..3 {
        expect_shown(&mut outers, true);
        assert_eq!(expect_one(&mut inner, key), Ready::READABLE);
    }
    drain(inner[key].source());
    look(&mut inner);
    expect_shown(&mut outers, false);
}

fn changes_take_effect_at_once(backend: Backend) {
    let (left, _right) = pair();
    let mut inner = open(backend);
    let key = inner.register(left, R, ()).unwrap();
    let mut outers = outers(&mut inner);
    inner.modify(key, W).unwrap();
    expect_shown(&mut outers, true);
    inner.modify(key, NOTHING).unwrap();
    expect_shown(&mut outers, false);
    let (other, _other_peer) = pair();
    let other = inner.register(other, W, ()).unwrap();
    expect_shown(&mut outers, true);
    drop(inner.unregister(other).unwrap());
    expect_shown(&mut outers, false);
}

fn an_always_ready_file_shows(backend: Backend) {
    let mut inner: Selector<OwnedFd> = open(backend);
    let mut outer = open(Backend::Poll);
    outer.register(inner.descriptor().unwrap().try_clone_to_owned().unwrap(), R, ()).unwrap();
    let mut outers = [outer];
    for watch in [W.into(), W.oneshot(), W.edge()] {
        let file = std::fs::File::options().write(true).open("/dev/null").unwrap();
        expect_shown(&mut outers, false);
        let key = inner.register(file.into(), watch, ()).unwrap();
        expect_shown(&mut outers, true);
        assert_eq!(expect_one(&mut inner, key), Ready::WRITABLE);
        expect_shown(&mut outers, watch == W.into());
        inner.modify(key, W).unwrap();
        expect_shown(&mut outers, true);
        drop(inner.unregister(key).unwrap());
    }
    expect_shown(&mut outers, false);
}

fn a_refused_change_shows(backend: Backend) {
    let (left, _right) = pair();
    let left = std::mem::ManuallyDrop::new(left);
    let mut inner: Selector<&TcpStream> = open(backend);
    let key = inner.register(&left, R, ()).unwrap();
    let mut outer = open(Backend::Poll);
    outer.register(inner.descriptor().unwrap().try_clone_to_owned().unwrap(), R, ()).unwrap();
    let mut outers = [outer];
    close_behind_the_back(&*left);
    look(&mut inner);
    inner.modify(key, R | W).unwrap();
    expect_shown(&mut outers, true);
    assert_eq!(expect_one(&mut inner, key), Ready::INVALID);
    expect_shown(&mut outers, false);
}

fn a_wake_shows(backend: Backend) {
    let mut inner: Selector<TcpStream> = open(backend);
    let mut outers = outers(&mut inner);
    let waker = inner.waker().unwrap();
    expect_shown(&mut outers, false);
    waker.wake().unwrap();
    expect_shown(&mut outers, true);
    let (_, waited) = processor_time(|| assert!(select(&mut inner, SURELY).is_empty()));
    assert!(waited < SURELY);
    assert!(look(&mut inner).is_empty());
    expect_shown(&mut outers, false);
}

fn it_stays_when_the_selector_is_rebuilt(backend: Backend) {
    let (left, mut right) = pair();
    let mut inner = open(backend);
    let key = inner.register(left, R, ()).unwrap();
    let mut outers = outers(&mut inner);
    for target in Backend::available() {
        if !target.abilities().nesting {
            let error = inner.rebuild_with(target).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            continue;
        }
        inner.rebuild_with(target).unwrap();
        expect_shown(&mut outers, false);
        right.write_all(b"!").unwrap();
        expect_shown(&mut outers, true);
        assert_eq!(expect_one(&mut inner, key), Ready::READABLE);
        drain(inner[key].source());
        look(&mut inner);
    }
}

/// A stale entry makes some mechanisms open a new kernel object; the outer loop must not lose us.
fn it_stays_when_the_kernel_object_is_renewed(backend: Backend) {
    let ((left, mut right), (other, mut other_peer)) = (pair(), pair());
    let twin = left.try_clone().unwrap();
    let left = std::mem::ManuallyDrop::new(left);
    let mut inner: Selector<&TcpStream> = open(backend);
    let key = inner.register(&left, R, ()).unwrap();
    let other_key = inner.register(&other, R, ()).unwrap();
    let mut outer = open(Backend::Poll);
    outer.register(inner.descriptor().unwrap().try_clone_to_owned().unwrap(), R, ()).unwrap();
    let mut outers = [outer];
    close_behind_the_back(&*left);
    inner.unregister(key).unwrap();
    right.write_all(b"!").unwrap();
    wait_for_data(&twin);
    expect_silence(&mut inner);
    expect_shown(&mut outers, false);
    other_peer.write_all(b"!").unwrap();
    expect_shown(&mut outers, true);
    assert_eq!(expect_one(&mut inner, other_key), Ready::READABLE);
}

fn edges_and_one_shots_are_not_used_up_by_looking(backend: Backend) {
    for watch in [R.edge(), R.oneshot()] {
        let (left, mut right) = pair();
        let mut inner = open(backend);
        let key = inner.register(left, watch, ()).unwrap();
        let mut outers = outers(&mut inner);
        right.write_all(b"!").unwrap();
        for _ in 0..3 {
            expect_shown(&mut outers, true);
        }
        assert!(expect_one(&mut inner, key).contains(Ready::READABLE));
        expect_silence(&mut inner);
        expect_shown(&mut outers, false);
    }
}

fn too_deep_is_an_error(backend: Backend) {
    let (left, _right) = pair();
    let mut chain: Vec<Selector<OwnedFd>> = vec![open(backend)];
    chain[0].register(left.into(), W, ()).unwrap();
    for depth in 0..10 {
        let inner = chain[depth].descriptor().and_then(|inner| inner.as_fd().try_clone_to_owned());
        let Ok(inner) = inner else { return };
        let mut outer = open(backend);
        if let Err(error) = outer.register(inner, R, ()) {
            let (inner, ()) = error.into_parts();
            // Where it is refused, the source is back and the rest goes on.
            drop(inner);
            assert!(depth > 0 && outer.is_empty());
            assert_eq!(chain[depth].select(&mut Events::with_capacity(8), SURELY).unwrap(), 1);
            return;
        }
        chain.push(outer);
    }
    // Where it is not refused it must work.
    let outermost = chain.last_mut().unwrap();
    assert_eq!(outermost.select(&mut Events::with_capacity(8), SURELY).unwrap(), 1);
}
