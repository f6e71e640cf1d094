//! Faults during a wait: forks, closed descriptors, panics.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::panic::catch_unwind;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use polyselect::{Backend, Event, Events, ForkedError, Ready, SharedSelector};

use super::{beside_a_wait, beside_a_wait_of, open, select};
use crate::support::closed::{self, Unclosed, close_behind_the_back};
use crate::support::process::{fork, without_descriptors};
use crate::support::{A_WHILE, R, SURELY, W, drain, pair};

cases! {
    a_file_that_is_always_ready_ends_a_wait_when_it_is_registered needs shared,
    a_rejected_change_during_a_wait_is_reported needs shared,
    a_panic_of_the_logger_inside_a_wait_leaves_the_selector_usable needs shared,
    a_closed_descriptor_is_unregistered_during_a_wait needs shared,
    in_a_child_every_call_is_an_error_while_the_parent_waits needs shared,
    a_child_that_drops_leaves_the_wait_of_its_parent_alone needs shared,
    a_child_opens_a_selector_of_its_own needs shared,
    without_descriptors_opening_is_an_error_and_changes_are_not needs shared,
}

fn a_file_that_is_always_ready_ends_a_wait_when_it_is_registered(backend: Backend) {
    let selector = open(backend);
    let mut key = None;
    let events = beside_a_wait(&selector, || {
        key = Some(selector.register(File::open("/dev/null").unwrap(), R, ()).unwrap());
    });
    let key = key.unwrap();
    assert_eq!((events[0].key, events[0].ready), (key, Ready::READABLE));
    // It is reported in every wait until it is unregistered.
    assert_eq!(select(&selector, SURELY)[0].key, key);
    selector.unregister(key).unwrap();
    assert_eq!(select(&selector, A_WHILE), []);
}

fn unclosed() -> (Unclosed<TcpStream>, TcpStream) {
    let (left, right) = pair();
    (closed::unclosed(left), right)
}

fn a_rejected_change_during_a_wait_is_reported(backend: Backend) {
    let selector = open(backend);
    let (left, _right) = unclosed();
    let key = selector.register(left, R, ()).unwrap();
    let events = beside_a_wait(&selector, || {
        // The change is the only reason for an event.
        selector.with(key, |source, ()| close_behind_the_back(&*source.0)).unwrap();
        selector.modify(key, W).unwrap();
    });
    assert_eq!((events[0].key, events[0].is_invalid()), (key, true), "{events:?}");
    assert_eq!(select(&selector, A_WHILE), []);
    selector.unregister(key).unwrap();
}

struct Panicking;

impl Log for Panicking {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        assert!(!record.args().to_string().contains("rejected"), "as the test wants it");
    }

    fn flush(&self) {}
}

/// epoll and mio reject the change. The message is logged right before the wait begins.
fn a_panic_of_the_logger_inside_a_wait_leaves_the_selector_usable(backend: Backend) {
    let selector = open(backend);
    let (left, _right) = unclosed();
    let key = selector.register(left, R, ()).unwrap();
    select(&selector, Duration::ZERO);
    selector.with(key, |source, ()| close_behind_the_back(&*source.0)).unwrap();
    selector.modify(key, W).unwrap();
    log::set_logger(&Panicking).unwrap();
    log::set_max_level(LevelFilter::Debug);
    let result = catch_unwind(|| selector.select(&mut Events::with_capacity(8), SURELY));
    log::set_max_level(LevelFilter::Off);
    let rejects = [Backend::Epoll, Backend::Mio].contains(&backend);
    assert!(result.is_err() || !rejects, "the change was not rejected");
    selector.unregister(key).unwrap();
    let (left, mut right) = unclosed();
    let events = beside_a_wait(&selector, || {
        let key = selector.register(left, R, ()).unwrap();
        right.write_all(b"!").unwrap();
        assert_eq!(selector.with(key, |_, ()| ()), Some(()));
    });
    let (source, ()) = selector.unregister(events[0].key).unwrap().into_parts();
    drop(source.into_inner());
}

fn a_closed_descriptor_is_unregistered_during_a_wait(backend: Backend) {
    let selector = open(backend);
    let (left, _right) = unclosed();
    let key = selector.register(left, R, ()).unwrap();
    // A backend whose set is an argument may report before that it is not open.
    let events = beside_a_wait_of(&selector, 2 * A_WHILE, || {
        selector.with(key, |source, ()| close_behind_the_back(&*source.0)).unwrap();
        selector.unregister(key).unwrap();
    });
    assert!(events.iter().all(Event::is_invalid), "{events:?}");
    assert_eq!(select(&selector, A_WHILE), []);
    assert!(selector.is_empty());
}

fn in_a_child_every_call_is_an_error_while_the_parent_waits(backend: Backend) {
    let selector = open(backend);
    let (left, right) = pair();
    let key = selector.register(left, R, right).unwrap();
    let in_child = || {
        let (left, right) = pair();
        let refused = selector.register(left, R, right).unwrap_err();
        let mut events = Events::with_capacity(8);
        let errors = [
            refused.into_error(),
            selector.modify(key, W).unwrap_err(),
            selector.set_watch(key, W).unwrap_err(),
            selector.unregister(key).map(drop).unwrap_err(),
            selector.select(&mut events, None).unwrap_err(),
            selector.select(&mut events, Duration::ZERO).unwrap_err(),
            selector.rebuild_with(backend).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Other);
            assert!(
                error.get_ref().and_then(|payload| payload.downcast_ref::<ForkedError>()).is_some(),
                "{error}"
            );
            assert!(error.to_string().contains("open another one"), "{error}");
        }
        assert_eq!((selector.with(key, |_, _| ()), selector.len()), (None, 0));
        // A wake does not reach the parent.
        selector.waker().wake().unwrap();
    };
    let events = beside_a_wait_of(&selector, SURELY, || {
        fork(in_child).join();
        selector.with(key, |_, peer| peer.write_all(b"!")).unwrap().unwrap();
    });
    assert_eq!(events.iter().map(|event| event.key).collect::<Vec<_>>(), [key]);
    // Also while the lock is held.
    selector.with(key, |_, _| fork(in_child).join()).unwrap();
    selector.with(key, |source, _| drain(source)).unwrap();
    assert_eq!(select(&selector, A_WHILE), []);
}

fn a_child_that_drops_leaves_the_wait_of_its_parent_alone(backend: Backend) {
    let mut selector = Some(open(backend));
    let (left, mut right) = pair();
    let key = selector.as_ref().unwrap().register(left, R, ()).unwrap();
    fork(|| drop(selector.take())).join();
    let selector = selector.unwrap();
    let events = beside_a_wait(&selector, || {
        let clone = selector.clone();
        fork(|| drop(clone)).join();
        right.write_all(b"!").unwrap();
    });
    assert_eq!(events[0].key, key);
}

fn a_child_opens_a_selector_of_its_own(backend: Backend) {
    let selector: SharedSelector<TcpStream> = open(backend);
    beside_a_wait_of(&selector, SURELY, || {
        fork(|| {
            let own = open(backend);
            let (left, mut right) = pair();
            right.write_all(b"!").unwrap();
            let key = own.register(left, R, ()).unwrap();
            assert_eq!(select(&own, SURELY)[0].key, key);
        })
        .join();
        selector.waker().wake().unwrap();
    });
}

fn without_descriptors_opening_is_an_error_and_changes_are_not(backend: Backend) {
    let selector = open(backend);
    let (left, mut right) = pair();
    let mut key = None;
    let events = beside_a_wait(&selector, || {
        without_descriptors(|| {
            let error = SharedSelector::<TcpStream>::with_backend(backend).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            key = Some(selector.register(left, R, ()).unwrap());
            right.write_all(b"!").unwrap();
        });
    });
    assert_eq!(Some(events[0].key), key);
}
