//! A selector inside another event loop.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::thread;

use polyselect::{Backend, Events, Ready, Selector};

use crate::support::closed::close_behind_the_back;
use crate::support::process::fork;
use crate::support::*;

cases! {
    a_backend_without_nesting_returns_unsupported,
    an_event_before_the_outer_wait_is_shown needs nesting,
    an_event_during_the_outer_wait_is_shown needs nesting,
    unread_data_stay_shown needs nesting,
    data_left_by_one_of_many_sources_stay_shown needs nesting,
    changes_take_effect_immediately needs nesting,
    an_always_ready_file_is_reported_but_not_shown needs nesting,
    a_rejected_change_is_reported_by_the_next_select needs nesting,
    every_wake_is_shown needs nesting,
    every_write_to_an_eventfd_inside_is_shown needs nesting,
    a_rebuilt_selector_is_no_longer_shown_by_its_old_descriptor needs nesting,
    a_dropped_selector_is_no_longer_shown_by_its_descriptor needs nesting,
    edges_and_one_shots_are_not_consumed_by_the_outer_wait needs nesting edge oneshot,
    nesting_too_deeply_returns_an_error needs nesting,
    a_selector_cannot_be_registered_with_itself needs nesting,
}

fn a_backend_without_nesting_returns_unsupported(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    match selector.descriptor() {
        Ok(_) => assert!(backend.capabilities().nesting),
        Err(error) => {
            assert!(!backend.capabilities().nesting, "{error}");
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    }
}

/// An outer selector of each kind, with the descriptor of the inner one.
fn outers<S, D>(inner: &mut Selector<S, D>) -> Vec<Selector<OwnedFd>> {
    let outer = |backend| {
        let mut outer = open(backend);
        outer.register(inner.descriptor().unwrap(), R, ()).unwrap();
        outer
    };
    Backend::available().map(outer).collect()
}

#[track_caller]
fn expect_shown(outers: &mut [Selector<OwnedFd>], shown: bool) {
    for outer in outers {
        let found = if shown { select(outer, SURELY) } else { select(outer, A_WHILE) };
        assert_eq!(!found.is_empty(), shown, "on {}", outer.backend());
    }
}

fn an_event_before_the_outer_wait_is_shown(backend: Backend) {
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

fn an_event_during_the_outer_wait_is_shown(backend: Backend) {
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

fn unread_data_stay_shown(backend: Backend) {
    let (left, mut right) = pair();
    let mut inner = open(backend);
    let key = inner.register(left, R, ()).unwrap();
    right.write_all(b"three").unwrap();
    // Also events that the selector reported before the descriptor was requested.
    assert_eq!(expect_one(&mut inner, key), Ready::READABLE);
    let mut outers = outers(&mut inner);
    for _ in 0..3 {
        expect_shown(&mut outers, true);
        assert_eq!(expect_one(&mut inner, key), Ready::READABLE);
    }
    drain(inner[key].source());
    look(&mut inner);
    expect_shown(&mut outers, false);
}

fn data_left_by_one_of_many_sources_stay_shown(backend: Backend) {
    let mut inner = open(backend);
    let mut outers = outers(&mut inner);
    let mut peers = Vec::new();
    for number in 0..20 {
        let (left, right) = pair();
        inner.register(left, R, number).unwrap();
        peers.push(right);
    }
    for peer in &mut peers {
        peer.write_all(b"!").unwrap();
    }
    let mut left = peers.len();
    while left > 0 {
        expect_shown(&mut outers, true);
        for event in expect_events(&mut inner).into_iter().take(3) {
            left -= drain(inner[event.key].source());
        }
    }
    look(&mut inner);
    expect_shown(&mut outers, false);
}

fn changes_take_effect_immediately(backend: Backend) {
    let (left, _right) = pair();
    let mut inner = open(backend);
    let key = inner.register(left, R, ()).unwrap();
    let mut outers = outers(&mut inner);
    inner.modify(key, W).unwrap();
    expect_shown(&mut outers, true);
    inner.modify(key, NOTHING).unwrap();
    expect_shown(&mut outers, false);
    inner.set_watch(key, W.oneshot()).unwrap();
    expect_shown(&mut outers, true);
    drop(inner.unregister(key).unwrap());
    expect_shown(&mut outers, false);
    let (other, _other_peer) = pair();
    let other = inner.register(other, W, ()).unwrap();
    expect_shown(&mut outers, true);
    drop(inner.unregister(other).unwrap());
    expect_shown(&mut outers, false);
}

fn an_always_ready_file_is_reported_but_not_shown(backend: Backend) {
    let mut inner: Selector<OwnedFd> = open(backend);
    let mut outers = outers(&mut inner);
    let file = std::fs::File::options().write(true).open("/dev/null").unwrap();
    let key = inner.register(file.into(), W, ()).unwrap();
    expect_shown(&mut outers, false);
    assert_eq!(expect_one(&mut inner, key), Ready::WRITABLE);
}

fn a_rejected_change_is_reported_by_the_next_select(backend: Backend) {
    let (left, _right) = pair();
    let left = std::mem::ManuallyDrop::new(left);
    let mut inner: Selector<&TcpStream> = open(backend);
    let key = inner.register(&left, R, ()).unwrap();
    let _descriptor = inner.descriptor().unwrap();
    close_behind_the_back(&*left);
    look(&mut inner);
    inner.modify(key, R | W).unwrap();
    assert_eq!(expect_one(&mut inner, key), Ready::INVALID);
    expect_silence(&mut inner);
}

fn every_wake_is_shown(backend: Backend) {
    let mut inner: Selector<TcpStream> = open(backend);
    let mut outers = outers(&mut inner);
    let waker = inner.waker().unwrap();
    for _ in 0..3 {
        expect_shown(&mut outers, false);
        waker.wake().unwrap();
        expect_shown(&mut outers, true);
        let (_, waited) = processor_time(|| assert!(select(&mut inner, SURELY).is_empty()));
        assert!(waited < SURELY);
        assert!(look(&mut inner).is_empty());
    }
    // During the outer wait.
    for mut outer in outers {
        for _ in 0..3 {
            let waker = waker.clone();
            let thread = thread::spawn(move || {
                thread::sleep(A_WHILE);
                waker.wake().unwrap();
            });
            assert!(!select(&mut outer, SURELY).is_empty(), "on {}", outer.backend());
            thread.join().unwrap();
            look(&mut inner);
        }
    }
}

fn every_write_to_an_eventfd_inside_is_shown(backend: Backend) {
    #[cfg(target_os = "linux")]
    {
        use rustix::event::{EventfdFlags, eventfd};

        let counter = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let mut inner = open(backend);
        let key = inner.register(Rc::new(counter), R, ()).unwrap();
        for mut outer in outers(&mut inner) {
            for _ in 0..3 {
                let counter = inner[key].source().try_clone().unwrap();
                let thread = thread::spawn(move || {
                    thread::sleep(A_WHILE);
                    rustix::io::write(counter, &1_u64.to_ne_bytes()).unwrap();
                });
                assert!(!select(&mut outer, SURELY).is_empty(), "on {}", outer.backend());
                thread.join().unwrap();
                assert_eq!(expect_one(&mut inner, key), Ready::READABLE);
                rustix::io::read(&**inner[key].source(), &mut [0; 8]).unwrap();
                look(&mut inner);
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = backend;
}

fn a_rebuilt_selector_is_no_longer_shown_by_its_old_descriptor(backend: Backend) {
    let (left, mut right) = pair();
    let mut inner = open(backend);
    let key = inner.register(left, R, ()).unwrap();
    let mut old = outers(&mut inner);
    right.write_all(b"!").unwrap();
    expect_shown(&mut old, true);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let child = fork(|| {
        // Holds the kernel object until the parent has finished.
        writer = std::io::pipe().unwrap().1;
        std::io::Read::read(&mut &reader, &mut [0]).unwrap();
    });
    inner.rebuild().unwrap();
    expect_shown(&mut old, false);
    let mut new = outers(&mut inner);
    expect_shown(&mut new, true);
    assert_eq!(expect_one(&mut inner, key), Ready::READABLE);
    drop(writer);
    child.join();
}

fn a_dropped_selector_is_no_longer_shown_by_its_descriptor(backend: Backend) {
    let (left, mut right) = pair();
    let left = Rc::new(left);
    let mut inner = open(backend);
    inner.register(Rc::clone(&left), R, ()).unwrap();
    let waker = inner.waker().unwrap();
    let mut outers = outers(&mut inner);
    right.write_all(b"!").unwrap();
    expect_shown(&mut outers, true);
    drop(inner);
    waker.wake().unwrap();
    expect_shown(&mut outers, false);
}

fn edges_and_one_shots_are_not_consumed_by_the_outer_wait(backend: Backend) {
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
        expect_shown(&mut outers, false);
        expect_silence(&mut inner);
        expect_shown(&mut outers, false);
    }
}

fn nesting_too_deeply_returns_an_error(backend: Backend) {
    let (left, _right) = pair();
    let mut chain: Vec<Selector<OwnedFd>> = vec![open(backend)];
    chain[0].register(left.into(), W, ()).unwrap();
    for depth in 0..10 {
        let Ok(inner) = chain[depth].descriptor() else { return };
        let mut outer = open(backend);
        if let Err(error) = outer.register(inner, R, ()) {
            // The source is returned, and the selector still works.
            drop(error.into_parts().1);
            assert!(depth > 0 && outer.is_empty());
            assert_eq!(chain[depth].select(&mut Events::with_capacity(8), SURELY).unwrap(), 1);
            return;
        }
        chain.push(outer);
    }
    // If it is not rejected, it works.
    let outermost = chain.last_mut().unwrap();
    assert_eq!(outermost.select(&mut Events::with_capacity(8), SURELY).unwrap(), 1);
}

fn a_selector_cannot_be_registered_with_itself(backend: Backend) {
    if !cfg!(target_os = "linux") {
        return; // Some systems accept a kqueue that watches itself.
    }
    let mut selector: Selector<OwnedFd> = open(backend);
    let descriptor = selector.descriptor().unwrap();
    let error = selector.register(descriptor, R, ()).unwrap_err();
    assert_eq!(error.error().kind(), ErrorKind::InvalidInput);
    assert!(selector.is_empty());
}
