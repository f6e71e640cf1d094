//! The wall clock is set forward and back, and no wait and no timer is affected.
//!
//! The crate uses the monotonic clock. This program has its own `clock_gettime`, which every clock
//! of the standard library calls: it counts reads of the wall clock, and returns a wall clock that
//! jumps. The kernel's handling of a timeout can be tested only by setting the kernel's own clock,
//! which requires the privilege and a variable:
//!
//! ```text
//! POLYSELECT_MAY_SET_CLOCK=1 cargo test --test clock_steps -- --nocapture
//! ```

#![cfg(target_os = "linux")]
#![allow(unsafe_code)] // The program's own `clock_gettime`, and setting the clock.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use polyselect::{Backend, EventLoop, Events, Interest, Selector};

/// The number of seconds by which the wall clock is wrong.
static WRONG: AtomicI64 = AtomicI64::new(0);

thread_local! {
    /// The number of times that this thread has read the wall clock.
    static ASKED: Cell<u32> = const { Cell::new(0) };
}

/// Replaces the C library's function.
///
/// # Safety
///
/// The C library's: `time` points to memory for a `timespec`.
// SAFETY: name, arguments and meaning are the C library's, except for the wall clock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    // SAFETY: the kernel's own, which checks the pointer.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    if result == 0 && clock == libc::CLOCK_REALTIME {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: the kernel has just written there.
        unsafe { (*time).tv_sec += WRONG.load(Ordering::Relaxed) };
    }
    result as c_int
}

/// Steps the wall clock of this program by hours until dropped, from another thread.
fn step_meanwhile<R>(work: impl FnOnce() -> R) -> R {
    thread::scope(|scope| {
        let (over, is_over) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            let pause = Duration::from_micros(500);
            for step in [3600, -7200, 86_400 * 365, -86_400 * 365, 0].into_iter().cycle() {
                WRONG.store(step, Ordering::Relaxed);
                if is_over.recv_timeout(pause)
                    == Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
                {
                    return;
                }
            }
        });
        let result = work();
        drop(over);
        result
    })
}

/// Waits, one-time timers and a repeating one: none early, and none much too late.
fn keep_time(backend: Backend) {
    const WAIT: Duration = Duration::from_millis(12);
    const LATE: Duration = Duration::from_secs(20);

    let mut selector: Selector<std::net::TcpStream> =
        Selector::with_backend(backend).expect("is available");
    let start = Instant::now();
    selector.select(&mut Events::with_capacity(1), WAIT).expect("waits");
    assert!((WAIT..LATE).contains(&start.elapsed()), "{:?}", start.elapsed());

    let (left, _right) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let mut event_loop = EventLoop::with_backend(backend, 0).expect("is available");
    let key = event_loop
        .register(left, Interest::READABLE, |_, _, _| unreachable!())
        .expect("is registered");
    for step in 1..8 {
        let deadline = Instant::now() + step * Duration::from_millis(2);
        event_loop.call_at(deadline, move |event_loop| {
            let late = Instant::now().checked_duration_since(deadline).expect("not early");
            assert!(late < LATE, "{late:?}");
            event_loop.state += 1;
        });
    }
    event_loop.call_every(Duration::from_millis(3), move |event_loop, timer| {
        event_loop.state += 100;
        if event_loop.state >= 500 {
            event_loop.cancel(timer).expect("repeats");
            event_loop.unregister(key).expect("is registered");
        }
    });
    event_loop.run().expect("runs");
    assert_eq!(event_loop.state, 507);
}

#[test]
fn nobody_asks_for_the_time_on_the_wall() {
    // The counter counts the standard library's calls.
    let before = SystemTime::now();
    assert_eq!(ASKED.get(), 1);
    WRONG.store(3600, Ordering::Relaxed);
    let step = SystemTime::now().duration_since(before).expect("an hour later");
    assert!(step >= Duration::from_secs(3600));
    WRONG.store(0, Ordering::Relaxed);

    for backend in Backend::available() {
        let before = ASKED.get();
        step_meanwhile(|| keep_time(backend));
        assert_eq!(ASKED.get(), before, "{backend} read the wall clock");
    }
}

#[test]
fn the_kernel_does_not_care() {
    if std::env::var_os("POLYSELECT_MAY_SET_CLOCK").is_none() {
        eprintln!(
            "skipped: sets the clock of this machine, so POLYSELECT_MAY_SET_CLOCK must allow it"
        );
        return;
    }
    let set = |seconds: i64| {
        // Computed from the monotonic clock, so that elapsed time is not lost.
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the time lives through the call.
        let got = unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, &mut now) };
        now.tv_sec += seconds;
        // SAFETY: as above.
        let set = unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &now) };
        assert_eq!(got, 0);
        if set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    for backend in Backend::available() {
        for hours in [1, -1] {
            if let Err(error) = set(hours * 3600) {
                eprintln!("skipped: the clock cannot be set: {error}");
                return;
            }
            // The clock goes back in the middle of the waits.
            let back = thread::spawn(move || {
                thread::sleep(Duration::from_millis(8));
                set(-hours * 3600)
            });
            let kept = std::panic::catch_unwind(|| keep_time(backend));
            back.join().expect("does not panic").expect("is set again");
            kept.expect("keeps time");
        }
    }
}
