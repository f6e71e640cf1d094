//! Registering, changing and ending registrations, and rejected operations.

use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;

use polyselect::{Backend, Events, Ready, Selector};

use crate::support::*;

cases! {
    #[cfg(unix)]
    a_negative_descriptor_is_invalid_input,
    set_watch_changes_interest_and_mode,
    registering_twice_is_an_error_that_hands_everything_back,
    a_key_that_is_gone_is_not_found,
    a_key_of_another_selector_is_not_found,
    unregister_gives_source_and_data_back,
    modify_changes_what_is_reported,
    changes_that_cancel_out_change_nothing,
    modes_without_a_capability_are_rejected_by_name,
    an_empty_interest_is_silent_until_modified,
    a_paused_connection_costs_no_processor_time,
    an_error_becomes_an_io_error,
    sources_may_be_owned_borrowed_and_shared,
    two_descriptors_of_one_file_are_two_registrations,
    many_registrations_keep_their_data,
}

fn registering_twice_is_an_error_that_hands_everything_back(backend: Backend) {
    let (left, _right) = pair();
    let left = Rc::new(left);
    let mut selector = open(backend);
    let key = selector.register(Rc::clone(&left), W, "first").unwrap();
    let error = selector.register(Rc::clone(&left), R, "second").unwrap_err();
    assert_eq!(error.error().kind(), io::ErrorKind::AlreadyExists);
    assert!(error.to_string().contains(&format!("as key {key}")), "{error}");
    let (_, source, data) = error.into_parts();
    assert!(Rc::ptr_eq(&source, &left) && data == "second");
    assert_eq!((selector.len(), selector[key].interest()), (1, W));
    assert_eq!(expect_one(&mut selector, key), Ready::WRITABLE);
}

fn a_key_that_is_gone_is_not_found(backend: Backend) {
    let (left, right) = pair();
    let mut selector = open(backend);
    let old = selector.register(left, R, 1).unwrap();
    let (left, _) = selector.unregister(old).unwrap().into_parts();
    // The slot is reused, and the descriptor is the same.
    let new = selector.register(left, W, 2).unwrap();
    assert_ne!(old, new);
    let not_found = io::ErrorKind::NotFound;
    assert_eq!(selector.unregister(old).unwrap_err().kind(), not_found);
    assert_eq!(selector.modify(old, R).unwrap_err().kind(), not_found);
    assert!(selector.get(old).is_none() && selector.get_mut(old).is_none());
    assert!(!selector.contains(old) && selector.get_disjoint_mut([old]).is_none());
    assert!(selector.unregister(old).unwrap_err().to_string().contains(&format!("key {old} ")));
    assert_eq!((selector[new].interest(), *selector[new].data()), (W, 2));
    drop(right);
}

fn a_key_of_another_selector_is_not_found(backend: Backend) {
    let (left, right) = pair();
    let (mut one, mut other) = (open(backend), open(backend));
    let key = one.register(left, R, ()).unwrap();
    let other_key = other.register(right, R, ()).unwrap();
    assert!(other.get(key).is_none() && one.get(other_key).is_none());
    assert_eq!(other.unregister(key).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!((one.len(), other.len()), (1, 1));
}

fn unregister_gives_source_and_data_back(backend: Backend) {
    let (left, mut right) = pair();
    let address = left.local_addr().unwrap();
    let mut selector = open(backend);
    let key = selector.register(left, R, String::from("data")).unwrap();
    right.write_all(b"!").unwrap();
    expect_one(&mut selector, key);
    let registration = selector.unregister(key).unwrap();
    assert_eq!((registration.interest(), registration.data().as_str()), (R, "data"));
    let (left, data) = registration.into_parts();
    assert_eq!((left.local_addr().unwrap(), data.as_str()), (address, "data"));
    assert!(selector.is_empty());
    expect_silence(&mut selector);
}

fn modify_changes_what_is_reported(backend: Backend) {
    let (left, mut right) = pair();
    right.write_all(b"!").unwrap();
    wait_for_data(&left);
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    for (interest, ready) in
        [(W, Ready::WRITABLE), (R | W, Ready::READABLE | Ready::WRITABLE), (R, Ready::READABLE)]
    {
        selector.modify(key, interest).unwrap();
        assert_eq!(selector[key].interest(), interest);
        assert_eq!(expect_one(&mut selector, key), ready);
    }
    selector.modify(key, NOTHING).unwrap();
    expect_silence(&mut selector);
}

fn changes_that_cancel_out_change_nothing(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    selector.modify(key, R | W).unwrap();
    selector.modify(key, NOTHING).unwrap();
    selector.modify(key, R).unwrap();
    expect_silence(&mut selector);
    right.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    // A change whose registration is gone by the next wait, with another one in its slot.
    selector.modify(key, W).unwrap();
    drop(selector.unregister(key).unwrap());
    let (other, _peer) = pair();
    let key = selector.register(other, R, ()).unwrap();
    expect_silence(&mut selector);
    assert_eq!(selector[key].interest(), R);
}

fn modes_without_a_capability_are_rejected_by_name(backend: Backend) {
    let capabilities = backend.capabilities();
    let mut selector = open(backend);
    for (watch, able) in [
        (R.edge(), capabilities.edge),
        (R.oneshot(), capabilities.oneshot),
        (R.exclusive(), capabilities.exclusive),
        (P.into(), capabilities.priority),
    ] {
        let (left, _right) = pair();
        let address = left.local_addr().unwrap();
        match selector.register(left, watch, "data") {
            Ok(key) => {
                assert!(able, "{watch:?} was taken");
                drop(selector.unregister(key).unwrap());
            }
            Err(error) => {
                assert!(!able, "{watch:?}: {error}");
                assert_eq!(error.error().kind(), io::ErrorKind::Unsupported);
                assert!(error.to_string().contains(&format!("backend {backend} ")), "{error}");
                for other in Backend::available() {
                    let able = match () {
                        () if watch.is_edge() => other.capabilities().edge,
                        () if watch.is_oneshot() => other.capabilities().oneshot,
                        () if watch.is_exclusive() => other.capabilities().exclusive,
                        () => other.capabilities().priority,
                    };
                    let named =
                        error.to_string().split([' ', ',']).any(|word| word == other.name());
                    assert!(named || !able, "{other} is missing in {error}");
                }
                let (_, left, data) = error.into_parts();
                assert_eq!((left.local_addr().unwrap(), data), (address, "data"));
            }
        }
        assert!(selector.is_empty());
    }
}

fn an_empty_interest_is_silent_until_modified(backend: Backend) {
    let mut selector = open(backend);
    let (left, right) = pair();
    let paused = selector.register(left, NOTHING, ()).unwrap();
    let (left, other_right) = pair();
    let reset_later = selector.register(left, R | W, ()).unwrap();
    wait_until(&mut selector, reset_later, Ready::WRITABLE);
    selector.modify(reset_later, NOTHING).unwrap();

    reset(right);
    reset(other_right);
    expect_silence(&mut selector);
    for key in [paused, reset_later] {
        selector.modify(key, R | W).unwrap();
        wait_until(&mut selector, key, Ready::READABLE | Ready::WRITABLE);
        selector.modify(key, NOTHING).unwrap();
        expect_silence(&mut selector);
    }
}

/// A wait that spun would use processor time for all of its duration.
fn a_paused_connection_costs_no_processor_time(backend: Backend) {
    let mut selector = open(backend);
    let (left, right) = pair();
    let key = selector.register(left, R, ()).unwrap();
    selector.modify(key, NOTHING).unwrap();
    reset(right);
    let mut events = Events::with_capacity(8);
    let (time, waited) = processor_time(|| {
        assert_eq!(selector.select(&mut events, 10 * A_WHILE).unwrap(), 0);
    });
    assert!(waited >= 10 * A_WHILE && time < waited / 2, "{time:?} of {waited:?}");
}

fn an_error_becomes_an_io_error(backend: Backend) {
    fn register_both(
        selector: &mut Selector<Rc<TcpStream>>,
        source: &Rc<TcpStream>,
    ) -> io::Result<()> {
        selector.register(Rc::clone(source), R, ())?;
        selector.register(Rc::clone(source), R, ())?;
        Ok(())
    }

    let (left, _right) = pair();
    let left = Rc::new(left);
    let error = register_both(&mut open(backend), &left).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(Rc::strong_count(&left), 1);
}

fn sources_may_be_owned_borrowed_and_shared(backend: Backend) {
    let (left, right) = pair();
    {
        let mut borrowed: Selector<&TcpStream> = open(backend);
        let key = borrowed.register(&left, W, ()).unwrap();
        assert_eq!(borrowed.key_of(&left), Some(key));
        expect_one(&mut borrowed, key);
    }
    let shared = Rc::new(left);
    let mut selector = open(backend);
    let key = selector.register(Rc::clone(&shared), W, ()).unwrap();
    expect_one(&mut selector, key);
    drop(selector);
    assert_eq!(Rc::strong_count(&shared), 1);

    let mut boxed: Selector<socket2::Socket, &str> = open(backend);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    boxed.register(listener.into(), R, "listener").unwrap();
    let key = boxed.register(right.into(), W, "connection").unwrap();
    expect_one(&mut boxed, key);
    boxed[key].source().shutdown(Shutdown::Both).unwrap();
}

fn two_descriptors_of_one_file_are_two_registrations(backend: Backend) {
    let (left, mut right) = pair();
    let twin = left.try_clone().unwrap();
    let mut selector = open(backend);
    let one = selector.register(left, R, ()).unwrap();
    let two = selector.register(twin, R, ()).unwrap();
    right.write_all(b"!").unwrap();
    wait_until(&mut selector, one, Ready::READABLE);
    wait_until(&mut selector, two, Ready::READABLE);
    drop(selector.unregister(one).unwrap());
    assert_eq!(expect_one(&mut selector, two), Ready::READABLE);
}

fn many_registrations_keep_their_data(backend: Backend) {
    let mut selector = open(backend);
    let mut peers = Vec::new();
    let mut keys = Vec::new();
    for number in 0..100 {
        let (left, right) = pair();
        keys.push(selector.register(left, R, number).unwrap());
        peers.push(right);
    }
    for number in (0..100).step_by(2) {
        assert_eq!(selector.unregister(keys[number]).unwrap().into_parts().1, number);
    }
    for number in (1..100).step_by(2) {
        assert_eq!(*selector[keys[number]].data(), number);
        (&peers[number]).write_all(b"!").unwrap();
        wait_until(&mut selector, keys[number], Ready::READABLE);
    }
    assert_eq!(selector.len(), 50);
}

/// Such a number means the working directory in some system calls.
#[cfg(unix)]
fn a_negative_descriptor_is_invalid_input(backend: Backend) {
    let mut selector = open(backend);
    for interest in [R, NOTHING] {
        let error = selector.register(rustix::fs::CWD, interest, ()).unwrap_err();
        assert_eq!(error.error().kind(), io::ErrorKind::InvalidInput, "{error}");
    }
    assert!(selector.is_empty());
    expect_silence(&mut selector);
}

fn set_watch_changes_interest_and_mode(backend: Backend) {
    let can = backend.capabilities();
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, W, ()).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::WRITABLE);
    right.write_all(b"!").unwrap();
    for watch in [R.edge(), R.oneshot(), R.into(), R.exclusive(), R.edge().oneshot(), R.into()] {
        let is_able = (!watch.is_edge() || can.edge)
            && (!watch.is_oneshot() || can.oneshot)
            && (!watch.is_exclusive() || can.exclusive);
        let before = selector[key].watch();
        match selector.set_watch(key, watch) {
            Ok(()) => assert!(is_able),
            Err(error) => {
                assert!(!is_able, "{watch:?}: {error}");
                assert_eq!(error.kind(), io::ErrorKind::Unsupported);
                assert_eq!(selector[key].watch(), before);
                continue;
            }
        }
        assert_eq!(selector[key].watch(), watch);
        assert!(expect_one(&mut selector, key).contains(Ready::READABLE), "{watch:?}");
        let comes_again = !watch.is_edge() && !watch.is_oneshot();
        assert_eq!(!look(&mut selector).is_empty(), comes_again, "{watch:?}");
    }
    // Two changes before the wait that cancel each other have no effect.
    selector.set_watch(key, W).unwrap();
    selector.set_watch(key, R).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    let stale = selector.unregister(key).map(|_| key).unwrap();
    assert_eq!(selector.set_watch(stale, R).unwrap_err().kind(), io::ErrorKind::NotFound);
}
