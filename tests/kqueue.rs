//! The kqueue backend on the simulated kernel: failing calls, and the number of calls.
//! `scripts/kqueue` runs it; without that there is nothing to test.

#![cfg(kqueue_sim)]
#![allow(unsafe_code)] // The simulation's own functions.

use std::io::{Write, pipe};
use std::mem::ManuallyDrop;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polyselect::{Backend, Events, Interest, Ready, Selector};

unsafe extern "C" {
    safe fn kqueue_sim_fail(nth: u32, error: i32, in_a_change: bool) -> bool;
    safe fn kqueue_sim_calls() -> u64;
}

const R: Interest = Interest::READABLE;
const W: Interest = Interest::WRITABLE;
const ERRORS: [i32; 5] = [libc::EMFILE, libc::ENOMEM, libc::EBUSY, libc::EPERM, libc::EINTR];

/// The faults are shared by the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    kqueue_sim_fail(0, 0, false);
    guard
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let left = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let right = listener.accept().unwrap().0;
    left.set_nonblocking(true).unwrap();
    (left, right)
}

fn open<S, D>() -> Selector<S, D> {
    Selector::with_backend(Backend::Kqueue).unwrap()
}

fn look<S, D>(selector: &mut Selector<S, D>) -> Vec<polyselect::Event> {
    let mut events = Events::with_capacity(8);
    selector.select(&mut events, Duration::ZERO).unwrap();
    events.iter().collect()
}

/// Returns the number of calls of `kevent` that `work` makes.
fn calls(work: impl FnOnce()) -> u64 {
    let before = kqueue_sim_calls();
    work();
    kqueue_sim_calls() - before
}

#[test]
fn a_registration_that_fails_leaves_no_filter() {
    let _alone = alone();
    for in_a_change in [true, false] {
        for error in [libc::ENOMEM, libc::EBUSY, libc::EMFILE] {
            let (left, _right) = pair();
            let mut selector = open();
            kqueue_sim_fail(1, error, in_a_change);
            let refused = selector.register(&left, R | W, ()).unwrap_err();
            assert_eq!(refused.error().raw_os_error(), Some(error));
            // A filter that is still there would end each wait at once.
            let mut events = Events::with_capacity(8);
            let waits = calls(|| {
                selector.select(&mut events, Duration::from_millis(100)).unwrap();
            });
            assert!(waits <= 2, "{waits} calls in a wait without events");
            let key = selector.register(&left, W, ()).unwrap();
            assert_eq!(look(&mut selector)[0].key, key);
        }
    }
}

#[test]
fn a_registration_that_a_signal_interrupts_is_made() {
    let _alone = alone();
    let (left, _right) = pair();
    let mut selector = open();
    kqueue_sim_fail(1, libc::EINTR, false);
    let key = selector.register(&left, W, ()).unwrap();
    assert_eq!(look(&mut selector)[0].key, key);
}

#[test]
fn a_change_of_a_call_that_fails_is_made_by_the_next_one() {
    let _alone = alone();
    for error in ERRORS {
        let (left, mut right) = pair();
        let mut selector = open();
        let key = selector.register(&left, W, ()).unwrap();
        right.write_all(b"!").unwrap();
        left.peek(&mut [0]).ok();
        selector.modify(key, R).unwrap();
        kqueue_sim_fail(1, error, false);
        let mut events = Events::with_capacity(8);
        let mut result = Ok(0);
        let made = calls(|| result = selector.select(&mut events, Duration::from_millis(1)));
        if error == libc::EINTR {
            // The interrupted call has made the change, so the next one only waits.
            assert_eq!((result.unwrap(), made), (1, 2));
        } else {
            assert!(result.is_err() && events.is_empty());
        }
        let events = look(&mut selector);
        assert_eq!((events.len(), events[0].ready), (1, Ready::READABLE), "{error}");
        selector.unregister(key).unwrap();
        assert!(look(&mut selector).is_empty());
    }
}

#[test]
fn a_change_that_the_kernel_refuses_is_invalid_once() {
    let _alone = alone();
    let (left, _right) = pair();
    let mut selector = open();
    let key = selector.register(&left, R, ()).unwrap();
    selector.modify(key, R | W).unwrap();
    kqueue_sim_fail(1, libc::ENOMEM, true);
    let events = look(&mut selector);
    assert_eq!((events.len(), events[0].key, events[0].ready), (1, key, Ready::INVALID));
    assert!(look(&mut selector).is_empty());
    selector.rebuild().unwrap();
    assert!(look(&mut selector).is_empty());
    selector.modify(key, R | W).unwrap();
    assert_eq!(look(&mut selector)[0].ready, Ready::WRITABLE);
}

#[test]
fn a_filter_that_could_not_be_deleted_is_deleted_later() {
    let _alone = alone();
    for in_a_change in [false, true] {
        let (left, _right) = pair();
        let mut selector = open();
        let key = selector.register(&left, W, ()).unwrap();
        kqueue_sim_fail(1, libc::ENOMEM, in_a_change);
        selector.unregister(key).unwrap();
        let mut events = Events::with_capacity(8);
        let waits = calls(|| {
            assert_eq!(selector.select(&mut events, Duration::from_millis(100)).unwrap(), 0);
        });
        assert!(waits <= 3, "{waits} calls in a wait without events");
        let key = selector.register(&left, R, ()).unwrap();
        assert!(look(&mut selector).is_empty());
        selector.unregister(key).unwrap();
    }
}

#[test]
fn unregistering_a_descriptor_that_was_closed_leaves_nothing_to_delete() {
    let _alone = alone();
    let (left, _right) = pair();
    let left = ManuallyDrop::new(left);
    let mut selector: Selector<&TcpStream> = open();
    let key = selector.register(&left, W, ()).unwrap();
    // SAFETY: nothing else closes it, and the other tests wait meanwhile.
    assert_eq!(unsafe { libc::close(left.as_raw_fd()) }, 0);
    selector.unregister(key).unwrap();
    let mut events = Events::with_capacity(8);
    let waits = calls(|| {
        assert_eq!(selector.select(&mut events, Duration::from_millis(20)).unwrap(), 0);
    });
    assert_eq!(waits, 1);
}

#[test]
fn events_survive_a_one_shot_that_cannot_be_silenced() {
    let _alone = alone();
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"!").unwrap();
    let mut selector = open();
    let _descriptor = selector.descriptor().unwrap();
    let key = selector.register(&reader, R.oneshot(), ()).unwrap();
    // The second call disarms the one-shot, because another loop may wait for the queue.
    kqueue_sim_fail(2, libc::ENOMEM, false);
    assert_eq!(look(&mut selector)[0].key, key);
    assert!(!kqueue_sim_fail(0, 0, false), "there was a second call");
    assert!(look(&mut selector).is_empty());
}

#[test]
fn a_registration_is_one_call_and_a_change_goes_with_the_wait() {
    let _alone = alone();
    let (left, mut right) = pair();
    right.write_all(b"!").unwrap();
    left.set_nonblocking(false).unwrap();
    left.peek(&mut [0]).unwrap();
    let mut selector = open();
    let mut key = None;
    assert_eq!(calls(|| key = Some(selector.register(&left, R | W, ()).unwrap())), 1);
    let key = key.unwrap();
    assert_eq!(calls(|| assert_eq!(look(&mut selector).len(), 1)), 1);
    for interest in [W, R, R | W] {
        let made = calls(|| {
            selector.modify(key, interest).unwrap();
            assert_eq!(look(&mut selector)[0].ready, Ready::from(interest));
        });
        assert_eq!(made, 1, "{interest:?}");
    }
    selector.set_watch(key, R.oneshot()).unwrap();
    for _ in 0..3 {
        let made = calls(|| {
            assert_eq!(look(&mut selector).len(), 1);
            selector.modify(key, R).unwrap();
        });
        assert_eq!(made, 1, "of a one-shot that is re-armed");
    }
    assert_eq!(calls(|| assert!(selector.unregister(key).is_ok())), 1);
}

#[test]
fn a_random_program_survives_calls_that_fail() {
    let _alone = alone();
    let mut state = 1_u32;
    let mut random = move |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    for _ in 0..200 {
        let pairs: Vec<_> =
            (0..6).map(|_| std::os::unix::net::UnixStream::pair().unwrap()).collect();
        for (left, right) in &pairs {
            left.set_nonblocking(true).unwrap();
            (&mut &*right).write_all(b"!").unwrap();
        }
        let mut selector = open();
        let mut keys = [None; 6];
        for _ in 0..40 {
            let place = random(6) as usize;
            let interest = [R, W, R | W][random(3) as usize];
            if random(3) == 0 {
                kqueue_sim_fail(1 + random(2), ERRORS[random(5) as usize], random(2) == 0);
            }
            match (keys[place], random(4)) {
                (None, _) => keys[place] = selector.register(&pairs[place].0, interest, place).ok(),
                (Some(key), 0) => {
                    selector.unregister(key).unwrap();
                    keys[place] = None;
                }
                (Some(key), 1) => selector.modify(key, interest).unwrap(),
                _ => drop(selector.select(&mut Events::with_capacity(4), Duration::ZERO)),
            }
        }
        // Without faults, exactly the registered descriptors are ready.
        kqueue_sim_fail(0, 0, false);
        for key in keys.into_iter().flatten() {
            selector.modify(key, R | W).unwrap();
        }
        look(&mut selector);
        for key in keys.into_iter().flatten() {
            selector.modify(key, R).unwrap();
            selector.modify(key, W).unwrap();
        }
        let events = look(&mut selector);
        assert_eq!(events.len(), keys.iter().flatten().count());
        assert!(events.iter().all(|event| event.ready == Ready::WRITABLE), "{events:?}");
    }
}
