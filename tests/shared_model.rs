//! The interleavings of the protocol of `SharedSelector`: a thread that waits, and threads that register,
//! modify, unregister, rebuild and wake, on a backend whose kernel object accepts changes during a wait
//! (live) and on one that the waiting thread takes along (lent). A thread that nothing wakes is a
//! deadlock, which the model checker reports; some deadlocks abort the test.
//!
//! The model fails if the waiting thread leaves while another thread requests the lock, does not
//! notify those that do, or passes an event of a former interest; if a change does not wake the
//! waiting thread, or does not set `ATTENTION` or `has_changed`; if `unregister` or `rebuild_with`
//! does not wait for the other thread; if the claim loses its acquire or its release, or ends by a
//! store; if `is_poked` stays set after the wake or after a failed poke; and without the fork check
//! or the return of the backend after a panic.

#![cfg(not(all(windows, target_pointer_width = "32")))] // loom has no stacks there.

// They are const; clippy does not detect it on some targets.
#![allow(clippy::missing_const_for_thread_local)]

#[path = "shared_model/environment.rs"]
mod environment;
#[path = "../src/waker/flag.rs"]
#[allow(dead_code)]
mod flag;
#[path = "shared_model/kernel.rs"]
mod kernel;
#[path = "../src/shared/protocol.rs"]
mod protocol;
#[path = "shared_model/subject.rs"]
mod subject;
#[path = "../src/selector/timeout.rs"]
#[allow(dead_code)]
mod timeout;
#[path = "../src/shared/waiting.rs"]
mod waiting;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use loom::sync::{Arc, atomic};
use loom::thread;

use environment::{Clock, IS_CHILD, PLACE};
use kernel::Set;
use protocol::Needs;
use subject::{IN, LENT, LIVE, OUT, Shared, model, spawn};

#[test]
fn a_wait_sees_what_is_registered_meanwhile() {
    for object in [LIVE, LENT] {
        model(3, move || {
            let shared = Shared::new(object);
            shared.kernel.make_ready(0, IN);
            let thread = spawn(&shared, |shared| shared.register(0, IN));
            shared.expect(&[(0, IN)]);
            thread.join().unwrap();
        });
    }
}

#[test]
fn a_wait_sees_what_two_threads_register_meanwhile() {
    for object in [LIVE, LENT] {
        model(2, move || {
            let shared = Shared::new(object);
            shared.kernel.make_ready(0, IN);
            shared.kernel.make_ready(1, IN);
            let first = spawn(&shared, |shared| shared.register(0, IN));
            let second = spawn(&shared, |shared| shared.register(1, IN));
            shared.expect(&[(0, IN), (1, IN)]);
            first.join().unwrap();
            second.join().unwrap();
        });
    }
}

#[test]
fn a_wait_sees_what_is_modified_meanwhile() {
    for object in [LIVE, LENT] {
        model(3, move || {
            let shared = Shared::new(object);
            shared.register(0, OUT);
            shared.kernel.make_ready(0, IN);
            let thread = spawn(&shared, |shared| shared.modify(0, IN));
            shared.expect(&[(0, IN)]);
            thread.join().unwrap();
        });
    }
}

/// A change that is queued while no thread waits is sent by the wait that begins.
#[test]
fn a_change_between_two_waits_is_seen_by_the_next() {
    for object in [LIVE, LENT] {
        model(3, move || {
            let shared = Shared::new(object);
            shared.register(0, IN);
            shared.kernel.make_ready(0, IN | OUT);
            let thread = spawn(&shared, |shared| shared.modify(0, OUT));
            shared.expect(&[(0, OUT)]);
            thread.join().unwrap();
        });
    }
}

#[test]
fn unregister_releases_the_file_while_its_event_is_pending() {
    for object in [LIVE, LENT] {
        model(3, move || {
            let shared = Shared::new(object);
            shared.register(0, IN);
            let thread = spawn(&shared, |shared| {
                shared.kernel.make_ready(0, IN);
                assert!(shared.unregister(0));
                shared.protocol.waker().wake();
            });
            // The wait ends by the event or by the wake, and then the file is closed.
            let found = shared.select(None).unwrap();
            if found.is_empty() {
                assert!(!shared.kernel.holds(0));
            }
            thread.join().unwrap();
            assert_eq!(shared.select(Some(Duration::ZERO)).unwrap(), []);
        });
    }
}

#[test]
fn a_file_that_is_registered_again_beside_another_is_seen() {
    for object in [LIVE, LENT] {
        model(2, move || {
            let shared = Shared::new(object);
            shared.register(0, OUT);
            shared.kernel.make_ready(0, IN);
            shared.kernel.make_ready(1, IN);
            let again = spawn(&shared, |shared| {
                assert!(shared.unregister(0));
                shared.register(0, IN);
            });
            let other = spawn(&shared, |shared| shared.register(1, IN));
            shared.expect(&[(0, IN), (1, IN)]);
            again.join().unwrap();
            other.join().unwrap();
        });
    }
}

#[test]
fn a_wake_ends_the_wait_beside_a_change() {
    for object in [LIVE, LENT] {
        model(2, move || {
            let shared = Shared::new(object);
            let waking = spawn(&shared, |shared| shared.protocol.waker().wake());
            let changing = spawn(&shared, |shared| shared.register(0, IN));
            assert_eq!(shared.select(None).unwrap(), []);
            waking.join().unwrap();
            changing.join().unwrap();
        });
    }
}

#[test]
fn a_change_does_not_depend_on_a_thread_that_waits_no_more() {
    for object in [LIVE, LENT] {
        model(3, move || {
            let shared = Shared::new(object);
            let thread = spawn(&shared, |shared| {
                shared.register(0, IN);
                shared.register(1, IN);
            });
            shared.select(Some(Duration::ZERO)).unwrap();
            thread.join().unwrap();
        });
    }
}

#[test]
fn changes_go_on_beside_a_thread_that_comes_back_to_wait() {
    for object in [LIVE, LENT] {
        model(2, move || {
            let shared = Shared::new(object);
            shared.register(0, IN);
            shared.kernel.make_ready(0, IN);
            let thread = spawn(&shared, |shared| {
                shared.register(1, IN);
                shared.kernel.make_ready(1, IN);
                assert!(shared.unregister(0));
            });
            shared.select(None).unwrap();
            shared.kernel.make_ready(0, 0);
            shared.expect(&[(1, IN)]);
            thread.join().unwrap();
        });
    }
}

#[test]
fn two_threads_take_turns_in_waiting() {
    for object in [LIVE, LENT] {
        model(2, move || {
            let shared = Shared::new(object);
            shared.kernel.make_ready(0, IN);
            let other = spawn(&shared, |shared| match shared.select(Some(Duration::ZERO)) {
                Ok(found) => assert!(found.len() <= 1),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::ResourceBusy),
            });
            let changing = spawn(&shared, |shared| shared.register(0, IN));
            loop {
                match shared.select(None) {
                    Ok(found) if found.is_empty() => {}
                    Ok(_) => break,
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
                        thread::yield_now();
                    }
                }
            }
            other.join().unwrap();
            changing.join().unwrap();
        });
    }
}

#[test]
fn a_wait_goes_on_with_the_backend_that_it_is_moved_to() {
    for (from, to) in [(LIVE, Some(1)), (LIVE, LENT), (LENT, LIVE), (LENT, LENT)] {
        model(3, move || {
            let shared = Shared::new(from);
            shared.register(0, IN);
            let moving = Arc::clone(&shared);
            let thread = thread::spawn(move || {
                PLACE.with(|place| place.set(2));
                moving.move_to(to);
                moving.kernel.make_ready(0, IN);
            });
            shared.expect(&[(0, IN)]);
            thread.join().unwrap();
            shared.kernel.make_ready(0, IN);
            shared.expect(&[(0, IN)]);
        });
    }
}

/// The waiting thread returns with an event while the other thread requests the lock, and waits
/// again.
#[test]
fn moving_does_not_depend_on_the_thread_that_was_asked() {
    for (from, to) in [(LIVE, Some(1)), (LIVE, LENT), (LENT, LIVE)] {
        model(3, move || {
            let shared = Shared::new(from);
            shared.register(0, IN);
            shared.register(1, IN);
            shared.kernel.make_ready(0, IN);
            let moving = Arc::clone(&shared);
            let thread = thread::spawn(move || {
                PLACE.with(|place| place.set(2));
                moving.move_to(to);
                moving.kernel.make_ready(1, IN);
            });
            shared.expect(&[(0, IN), (1, IN)]);
            thread.join().unwrap();
        });
    }
}

#[test]
fn a_wait_without_the_lock_uses_the_kernel_object_of_the_thread_before() {
    model(2, || {
        let shared = Shared::new(LIVE);
        shared.register(0, IN);
        shared.move_to(Some(1));
        shared.kernel.make_ready(0, IN);
        let other = spawn(&shared, |shared| drop(shared.select(Some(Duration::ZERO))));
        while let Err(error) = shared.select(None) {
            assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
            thread::yield_now();
        }
        other.join().unwrap();
    });
}

#[test]
fn a_failed_poke_is_an_error_of_one_thread() {
    model(2, || {
        let shared = Shared::new(LENT);
        shared.protocol.waker().failures.store(1, atomic::Ordering::SeqCst);
        shared.kernel.make_ready(0, IN);
        shared.kernel.make_ready(1, IN);
        let threads = [0, 1].map(|file| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                PLACE.with(|place| place.set(2 + file));
                let register = |set: &mut Set, ()| set.register(file, IN);
                shared.protocol.change((), |_| Needs::Backend, register).is_ok()
            })
        });
        // At least one of them is registered.
        assert!(!shared.select(None).unwrap().is_empty());
        let registered = threads.map(|thread| thread.join().unwrap());
        assert!(registered.contains(&true));
    });
}

#[test]
fn moving_beside_a_change_loses_neither() {
    for (from, to) in [(LIVE, Some(1)), (LIVE, LENT), (LENT, LIVE)] {
        model(2, move || {
            let shared = Shared::new(from);
            shared.kernel.make_ready(0, IN);
            let moving = Arc::clone(&shared);
            let mover = thread::spawn(move || {
                PLACE.with(|place| place.set(2));
                moving.move_to(to);
            });
            let changing = spawn(&shared, |shared| shared.register(0, IN));
            shared.expect(&[(0, IN)]);
            mover.join().unwrap();
            changing.join().unwrap();
            shared.kernel.make_ready(0, IN);
            shared.expect(&[(0, IN)]);
        });
    }
}

#[test]
fn a_panic_of_the_backend_leaves_the_selector_usable() {
    model(2, || {
        let shared = Shared::new(LENT);
        shared.kernel.make_ready(0, IN);
        shared.change(|_| Needs::Nothing, |set| set.panics = true);
        let thread = spawn(&shared, |shared| shared.register(0, IN));
        let select = AssertUnwindSafe(|| shared.select(None));
        catch_unwind(select).expect_err("the backend panics");
        shared.expect(&[(0, IN)]);
        thread.join().unwrap();
    });
}

#[test]
fn a_child_gets_an_error_while_a_thread_that_it_does_not_have_holds_the_lock() {
    for object in [LIVE, LENT] {
        model(2, move || {
            let shared = Shared::new(object);
            shared.protocol.lend(|_| {
                IS_CHILD.set(true);
                // On the thread that the child has.
                PLACE.with(|place| place.set(3));
                assert!(shared.select(None).is_err());
                assert!(shared.protocol.change((), |_| Needs::NoWait, |_, ()| ()).is_err());
                assert!(shared.protocol.read(|_| ()).is_err());
                assert!(shared.protocol.lend(|_| Some(())).is_none());
                PLACE.with(|place| place.set(1));
                IS_CHILD.set(false);
                Some(())
            });
        });
    }
}
