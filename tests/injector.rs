//! The injector itself: it makes the chosen call fail and no other, and reports unregistered
//! descriptors that are watched.

#![cfg(target_os = "linux")]
#![allow(unsafe_code)] // `fork` has no safe form.

#[path = "support/injector.rs"]
mod injector;

use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use std::{io, thread};

use injector::{Call, Fault, Injector, run, run_and_record};
use polyselect::{Backend, Events, Interest, Selector};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};

/// Runs the test, or prints that the system forbids the filter.
fn with_injector(work: impl FnOnce(&Injector) + Send) {
    if let Err(error) = run(work) {
        println!("skipped: this system refuses a filter with a listener: {error}");
    }
}

fn open() -> Result<(), Errno> {
    eventfd(0, EventfdFlags::CLOEXEC).map(drop)
}

fn third_call_fails() -> Fault {
    Fault { call: Call::Eventfd, nth: 3, times: 1, errno: libc::EMFILE }
}

#[test]
fn the_nth_call_of_its_kind_fails_and_no_other() {
    with_injector(|injector| {
        injector.arm(third_call_fails());
        let (results, failed) = injector.inside(|| [open(), open(), open(), open()]);
        assert_eq!(results, [Ok(()), Ok(()), Err(Errno::MFILE), Ok(())]);
        assert!(failed);
        assert_eq!(injector.seen()[&Call::Eventfd], (4, 1));
    });
}

#[test]
fn calls_outside_the_library_neither_fail_nor_count() {
    with_injector(|injector| {
        injector.arm(third_call_fails());
        for _ in 0..3 {
            assert_eq!(open(), Ok(()));
            assert_eq!(injector.inside(|| ()), ((), false));
        }
        let (results, _) = injector.inside(|| [open(), open()]);
        assert_eq!(results, [Ok(()), Ok(())]);
        assert_eq!(injector.inside(open), (Err(Errno::MFILE), true));
        assert_eq!(injector.inside(open), (Ok(()), false));
    });
}

#[test]
fn a_thread_that_is_started_inherits_the_filter() {
    with_injector(|injector| {
        injector.arm(third_call_fails());
        thread::scope(|scope| {
            scope.spawn(|| {
                let (results, failed) = injector.inside(|| [open(), open(), open()]);
                assert_eq!((results[2], failed), (Err(Errno::MFILE), true));
            });
        });
    });
}

#[test]
fn a_forked_child_neither_fails_nor_counts_and_the_parent_goes_on() {
    with_injector(|injector| {
        injector.arm(third_call_fails());
        // SAFETY: the child makes system calls and ends by `_exit`.
        let child = match unsafe { libc::fork() } {
            0 => {
                let all_open = injector.inside(|| (0..5).all(|_| open().is_ok())).0;
                // SAFETY: ends the process and touches no memory.
                unsafe { libc::_exit(i32::from(!all_open)) }
            }
            child => Pid::from_raw(child).expect("the system can fork"),
        };
        let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(0));
        assert_eq!(injector.inside(|| [open(), open()]), ([Ok(()), Ok(())], false));
        assert_eq!(injector.inside(open), (Err(Errno::MFILE), true));
    });
}

#[test]
fn a_panic_under_the_filter_reaches_the_caller() {
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        run(|injector| injector.inside(|| panic!("inside the library"))).map(|((), _)| ())
    }));
    match panicked {
        Err(payload) => assert_eq!(payload.downcast_ref(), Some(&"inside the library")),
        Ok(result) => println!("skipped: no filter with a listener: {}", result.unwrap_err()),
    }
}

#[test]
fn a_failure_that_is_repeated_for_ever_is_reported() {
    with_injector(|injector| {
        let always = Fault { call: Call::Eventfd, nth: 1, times: u32::MAX, errno: libc::EBUSY };
        injector.arm(always);
        injector.inside(|| while open() == Err(Errno::BUSY) {});
        let wrong = injector.take_wrong().expect("is reported");
        assert!(wrong.contains("for ever"), "{wrong}");
    });
}

#[test]
fn a_call_that_has_no_name_is_recorded_inside_the_library_only() {
    let recorded = run_and_record(|injector| {
        let _ = rustix::process::getppid();
        let before = injector.unknown();
        injector.inside(rustix::process::getppid);
        (before, injector.unknown())
    });
    match recorded {
        Ok((before, after)) => {
            assert!(before.is_empty(), "{before:?}");
            assert_eq!(after, [libc::SYS_getppid].into());
        }
        Err(error) => println!("skipped: no filter with a listener: {error}"),
    }
}

/// Reports about a stranger in one wait of a selector.
fn wait_beside(injector: &Injector, selector: &mut Selector<io::PipeReader>) -> Option<String> {
    let mut events = Events::with_capacity(4);
    injector.inside(|| selector.select(&mut events, Duration::ZERO).unwrap());
    injector.take_wrong()
}

#[test]
fn a_descriptor_that_is_declared_strange_is_noticed_where_a_call_names_it() {
    // The entries of a ring are not arguments of a system call.
    for backend in [Backend::Epoll, Backend::Poll, Backend::Select] {
        with_injector(|injector| {
            let (reader, _writer) = io::pipe().unwrap();
            let number = reader.as_raw_fd();
            let mut selector = Selector::with_backend(backend).unwrap();
            injector.add_stranger(number);
            injector.inside(|| selector.register(reader, Interest::READABLE, ()).unwrap());
            let at_register = injector.take_wrong();
            let wrong = at_register.or_else(|| wait_beside(injector, &mut selector));
            assert!(wrong.is_some_and(|wrong| wrong.contains("stranger")), "{backend}");
            injector.remove_stranger(number);
            assert_eq!(wait_beside(injector, &mut selector), None);
            injector.add_stranger(number);
            injector.arm(third_call_fails());
            injector.reset();
            assert_eq!(wait_beside(injector, &mut selector), None);
            assert_eq!(injector.inside(|| [open(), open(), open()]), ([Ok(()); 3], false));
        });
    }
}
