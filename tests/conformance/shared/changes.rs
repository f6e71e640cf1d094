//! Changes by one thread are in effect while another waits.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use polyselect::{Backend, Ready, SharedSelector};

use super::{beside_a_wait, beside_a_wait_of, open, select};
use crate::support::{A_WHILE, NOTHING, R, SURELY, W, drain, pair};

cases! {
    a_wait_reports_what_is_registered_meanwhile needs shared,
    a_wait_reports_what_becomes_ready_after_a_registration needs shared,
    a_wait_reports_what_is_modified_meanwhile needs shared,
    a_wait_does_not_report_what_is_paused_meanwhile needs shared,
    a_mode_set_meanwhile_is_in_effect needs shared oneshot,
    an_edge_that_is_modified_meanwhile_is_reported_again needs shared edge,
    a_oneshot_rearmed_meanwhile_fires_again needs shared oneshot,
    a_oneshot_rearmed_meanwhile_survives_rebuilding needs shared oneshot,
    a_oneshot_rearmed_before_its_event_is_returned_survives_rebuilding needs shared oneshot,
    unregister_releases_the_file_while_another_thread_waits needs shared,
    a_registration_that_never_was_in_the_set_can_be_unregistered needs shared,
    a_wait_goes_on_while_everything_is_unregistered needs shared,
    rebuilding_moves_a_wait_to_another_backend needs shared,
    changes_do_not_end_a_wait_or_extend_its_timeout needs shared,
    a_wake_ends_a_wait_beside_changes needs shared,
    changes_of_a_thread_between_two_waits_of_another_are_in_effect needs shared,
    changes_that_cancel_out_between_waits_are_not_seen needs shared,
}

fn a_wait_reports_what_is_registered_meanwhile(backend: Backend) {
    let selector = open(backend);
    for round in 0..20 {
        let (left, mut right) = pair();
        right.write_all(b"!").unwrap();
        let mut key = None;
        let events = beside_a_wait(&selector, || {
            key = Some(selector.register(left, R, round).unwrap());
        });
        let key = key.unwrap();
        assert_eq!((events[0].key, events[0].ready), (key, Ready::READABLE));
        assert_eq!(selector.with(key, |_, data| *data), Some(round));
        drop(selector.unregister(key).unwrap());
    }
}

fn a_wait_reports_what_becomes_ready_after_a_registration(backend: Backend) {
    let selector = open(backend);
    let (left, mut right) = pair();
    let mut key = None;
    let events = beside_a_wait(&selector, || {
        key = Some(selector.register(left, R, ()).unwrap());
        right.write_all(b"!").unwrap();
    });
    assert_eq!(Some(events[0].key), key);
}

fn a_wait_reports_what_is_modified_meanwhile(backend: Backend) {
    let selector = open(backend);
    let (left, _right) = pair();
    let key = selector.register(left, R, ()).unwrap();
    let events = beside_a_wait(&selector, || selector.modify(key, W).unwrap());
    assert_eq!((events[0].key, events[0].ready), (key, Ready::WRITABLE));
    assert!(select(&selector, A_WHILE).iter().all(|event| event.ready == Ready::WRITABLE));
}

fn a_wait_does_not_report_what_is_paused_meanwhile(backend: Backend) {
    let selector = open(backend);
    let (left, mut right) = pair();
    let key = selector.register(left, R, ()).unwrap();
    // On a backend whose kernel object is changed, the pause is in effect when `modify` returns; on
    // the others the waiting thread may leave with an event that arrives right after.
    let events = beside_a_wait_of(&selector, 2 * A_WHILE, || {
        selector.modify(key, NOTHING).unwrap();
        if backend == Backend::Epoll {
            right.write_all(b"!").unwrap();
        }
    });
    assert_eq!(events, []);
    right.write_all(b"!").unwrap();
    assert_eq!(select(&selector, A_WHILE), []);
    let events = beside_a_wait(&selector, || selector.modify(key, R).unwrap());
    assert_eq!(events[0].key, key);
}

fn a_mode_set_meanwhile_is_in_effect(backend: Backend) {
    let selector = open(backend);
    let (left, mut right) = pair();
    let key = selector.register(left, W, ()).unwrap();
    select(&selector, Duration::ZERO);
    selector.modify(key, R).unwrap();
    let events = beside_a_wait(&selector, || {
        selector.set_watch(key, R.oneshot()).unwrap();
        right.write_all(b"!").unwrap();
    });
    assert_eq!(events[0].ready, Ready::READABLE);
    // It may have fired before the mode was set, and once more then.
    select(&selector, Duration::ZERO);
    assert_eq!(select(&selector, A_WHILE), []);
}

fn an_edge_that_is_modified_meanwhile_is_reported_again(backend: Backend) {
    let selector = open(backend);
    let (left, mut right) = pair();
    let key = selector.register(left, R.edge(), ()).unwrap();
    right.write_all(b"!").unwrap();
    assert_eq!(select(&selector, SURELY)[0].key, key);
    assert_eq!(select(&selector, A_WHILE), []);
    let events = beside_a_wait(&selector, || selector.modify(key, R).unwrap());
    assert_eq!((events[0].key, events[0].ready), (key, Ready::READABLE));
}

fn fired<D: Send>(
    selector: &SharedSelector<TcpStream, D>,
    data: D,
) -> (polyselect::Key, TcpStream) {
    let (left, mut right) = pair();
    let key = selector.register(left, R.oneshot(), data).unwrap();
    right.write_all(b"!").unwrap();
    assert_eq!(select(selector, SURELY)[0].key, key);
    assert_eq!(select(selector, Duration::ZERO), []);
    (key, right)
}

fn a_oneshot_rearmed_meanwhile_fires_again(backend: Backend) {
    let selector = open(backend);
    let (key, _right) = fired(&selector, ());
    for _ in 0..10 {
        let events = beside_a_wait(&selector, || selector.modify(key, R).unwrap());
        assert_eq!((events[0].key, events[0].ready), (key, Ready::READABLE));
        // At most once more, because the event may have been attributed to the previous arming.
        select(&selector, Duration::ZERO);
        assert_eq!(select(&selector, Duration::ZERO), []);
    }
}

fn a_oneshot_rearmed_meanwhile_survives_rebuilding(backend: Backend) {
    let selector = open(backend);
    let (key, mut right) = fired(&selector, ());
    selector.with(key, |source, ()| assert_eq!(drain(source), 1)).unwrap();
    assert_eq!(beside_a_wait_of(&selector, A_WHILE, || selector.modify(key, R).unwrap()), []);
    selector.rebuild_with(backend).unwrap();
    right.write_all(b"!").unwrap();
    assert_eq!(select(&selector, SURELY)[0].key, key);
}

/// The waiting thread has the event, and needs the lock that this thread holds; then it is
/// re-armed.
fn a_oneshot_rearmed_before_its_event_is_returned_survives_rebuilding(backend: Backend) {
    let selector = open(backend);
    for _ in 0..20 {
        let (left, mut right) = pair();
        let key = selector.register(left, R.oneshot(), ()).unwrap();
        beside_a_wait_of(&selector, SURELY, || {
            let send_and_receive = |source: &TcpStream, _: &mut ()| {
                right.write_all(b"!").unwrap();
                // Usually long enough for the other thread to wake, which is the case of interest.
                thread::sleep(Duration::from_millis(1));
                assert_eq!(drain(source), 1);
            };
            selector.with(key, send_and_receive).unwrap();
            selector.modify(key, R).unwrap();
            selector.waker().wake().unwrap();
        });
        right.write_all(b"!").unwrap();
        selector.rebuild_with(backend).unwrap();
        assert_eq!(select(&selector, SURELY)[0].key, key);
        drop(selector.unregister(key).unwrap());
    }
}

/// A file held by the kernel would not be closed, and the peer would not see the end of the stream.
fn unregister_releases_the_file_while_another_thread_waits(backend: Backend) {
    let selector = open(backend);
    // Writable sources keep the waiting thread busy; without them it sleeps.
    for interest in [R, W, R | W] {
        let (left, _right) = pair();
        let key = selector.register(left, interest, "of the whole time").unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    select(&selector, SURELY);
                }
            });
            for _ in 0..50 {
                let (left, mut right) = pair();
                let other = selector.register(left, interest, "data").unwrap();
                let (source, data) = selector.unregister(other).unwrap().into_parts();
                assert_eq!(data, "data");
                drop(source);
                assert_eq!(right.read(&mut [0]).unwrap(), 0, "the end of the stream is late");
            }
            is_over.store(true, Ordering::Relaxed);
            selector.waker().wake().unwrap();
        });
        drop(selector.unregister(key).unwrap());
        assert!(selector.is_empty());
    }
}

fn a_registration_that_never_was_in_the_set_can_be_unregistered(backend: Backend) {
    let selector = open(backend);
    let (left, _right) = pair();
    let key = selector.register(left, NOTHING, ()).unwrap();
    let events = beside_a_wait_of(&selector, A_WHILE, || {
        let (left, ()) = selector.unregister(key).unwrap().into_parts();
        let key = selector.register(left, NOTHING, ()).unwrap();
        assert_eq!(selector.len(), 1);
        drop(selector.unregister(key).unwrap());
    });
    assert_eq!((events.len(), selector.len()), (0, 0));
}

fn a_wait_goes_on_while_everything_is_unregistered(backend: Backend) {
    let pairs: Vec<_> = (0..20).map(|_| pair()).collect();
    let selector = open(backend);
    let keys: Vec<_> =
        pairs.iter().map(|(left, _)| selector.register(left, R, ()).unwrap()).collect();
    let events = beside_a_wait_of(&selector, 2 * A_WHILE, || {
        thread::scope(|scope| {
            for keys in keys.chunks(5) {
                let selector = &selector;
                scope.spawn(move || keys.iter().for_each(|&key| drop(selector.unregister(key))));
            }
        });
    });
    assert_eq!((events.len(), selector.len()), (0, 0));
}

fn rebuilding_moves_a_wait_to_another_backend(backend: Backend) {
    let others = Backend::available().filter(|other| other.capabilities().shared);
    for other in others {
        let selector = open(backend);
        let (left, mut right) = pair();
        let key = selector.register(left, R, ()).unwrap();
        for backend in [other, backend, backend] {
            let events = beside_a_wait(&selector, || {
                selector.rebuild_with(backend).unwrap();
                assert_eq!(selector.backend(), backend);
                right.write_all(b"!").unwrap();
            });
            assert_eq!(events[0].key, key);
            selector.with(key, |source, ()| drain(source)).unwrap();
            assert_eq!(select(&selector, Duration::ZERO), []);
        }
    }
}

fn changes_do_not_end_a_wait_or_extend_its_timeout(backend: Backend) {
    let selector = open(backend);
    let is_over = Arc::new(AtomicBool::new(false));
    let changing = {
        let (selector, is_over) = (selector.clone(), Arc::clone(&is_over));
        thread::spawn(move || {
            let (mut left, _right) = pair();
            while !is_over.load(Ordering::Relaxed) {
                let key = selector.register(left, R, ()).unwrap();
                selector.modify(key, NOTHING).unwrap();
                selector.modify(key, R).unwrap();
                left = selector.unregister(key).unwrap().into_parts().0;
            }
        })
    };
    let timeout = 5 * A_WHILE;
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(select(&selector, timeout), []);
        let elapsed = start.elapsed();
        assert!(elapsed >= timeout && elapsed < SURELY, "{elapsed:?}");
    }
    is_over.store(true, Ordering::Relaxed);
    changing.join().unwrap();
}

fn a_wake_ends_a_wait_beside_changes(backend: Backend) {
    let selector: SharedSelector<TcpStream> = open(backend);
    for _ in 0..20 {
        let (left, _right) = pair();
        let events = beside_a_wait_of(&selector, SURELY, || {
            let waker = selector.waker();
            let waking = thread::spawn(move || waker.wake().unwrap());
            let key = selector.register(left, R, ()).unwrap();
            drop(selector.unregister(key).unwrap());
            waking.join().unwrap();
        });
        assert_eq!(events, []);
    }
    // A wake before the wait ends the next one.
    selector.waker().wake().unwrap();
    assert_eq!(select(&selector, SURELY), []);
}

fn changes_of_a_thread_between_two_waits_of_another_are_in_effect(backend: Backend) {
    let selector = open(backend);
    let (left, mut right) = pair();
    let key = selector.register(left, W, ()).unwrap();
    assert_eq!(select(&selector, SURELY)[0].ready, Ready::WRITABLE);
    thread::scope(|scope| {
        scope.spawn(|| selector.modify(key, R).unwrap());
    });
    assert_eq!(select(&selector, A_WHILE), []);
    right.write_all(b"!").unwrap();
    assert_eq!(select(&selector, SURELY)[0].ready, Ready::READABLE);
    let error = selector.unregister(key).and_then(|_| selector.unregister(key)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn changes_that_cancel_out_between_waits_are_not_seen(backend: Backend) {
    let selector = open(backend);
    let (left, _right) = pair();
    let key = selector.register(left, R, ()).unwrap();
    selector.modify(key, W).unwrap();
    selector.modify(key, R).unwrap();
    assert_eq!(select(&selector, A_WHILE), []);
}
