//! Forks, signals and limits.

#![allow(unsafe_code)] // `fork` has no safe form.

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use polyselect::{Backend, Selector};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getpid, getrlimit, kill_process,
    setrlimit, waitpid,
};

/// A child of this process that runs a part of the case.
pub struct Child(Pid);

/// Runs `work` in a fork of this process.
pub fn fork(work: impl FnOnce()) -> Child {
    // SAFETY: the only other thread sleeps and holds no lock, so that the child can go on as if it
    // were alone; it leaves by `_exit`, without running what belongs to the parent.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            // SAFETY: ends this process if it hangs; the watchdog is a thread of the parent's.
            unsafe { libc::alarm(60) };
            let failed = catch_unwind(AssertUnwindSafe(work)).is_err();
            // SAFETY: ends the process and touches no memory.
            unsafe { libc::_exit(i32::from(failed)) }
        }
        pid => Child(Pid::from_raw(pid).expect("not zero")),
    }
}

/// Runs `work` in the child of `command`, after the fork and before `exec`.
pub fn before_exec(command: &mut Command, work: impl Fn() + Send + Sync + 'static) {
    let work = move || {
        work();
        Ok(())
    };
    // SAFETY: what the cases do there is a system call that sends a signal.
    unsafe { command.pre_exec(work) };
}

/// Calls `work` in each forked child, before the handlers that are registered later: before this
/// crate's, if no selector has been opened yet.
pub fn first_in_forked_children(work: extern "C" fn()) {
    // SAFETY: the cases' functions send a signal or wake, and live as long as the program.
    assert_eq!(unsafe { libc::pthread_atfork(None, None, Some(work)) }, 0);
}

impl Child {
    /// Waits for its end, and fails if it failed.
    pub fn join(self) {
        let status = self.wait();
        assert_eq!(status.exit_status(), Some(0), "in the child: {status:?}");
    }

    /// Waits for its end.
    pub fn wait(self) -> WaitStatus {
        let (_, status) = waitpid(Some(self.0), WaitOptions::empty())
            .expect("is a child")
            .expect("waits until it has ended");
        status
    }
}

/// Sends this process a signal again and again until dropped. Its handler does nothing, but each
/// signal interrupts the system call in which the main thread sleeps.
pub struct Storm {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Storm {
    pub fn every(pause: Duration) -> Self {
        let seen = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, seen).expect("installs");
        let over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let over = Arc::clone(&over);
            move || {
                while !over.load(Ordering::Relaxed) {
                    kill_process(getpid(), Signal::USR1).expect("is alive");
                    thread::sleep(pause);
                }
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().expect("once").join().expect("does not fail");
    }
}

/// A system timer that sends this process a signal in each interval, until dropped. Not every
/// system's `libc` declares the call.
#[cfg(not(any(target_os = "illumos", target_os = "solaris")))]
pub struct Ticks(Arc<AtomicBool>);

#[cfg(not(any(target_os = "illumos", target_os = "solaris")))]
impl Ticks {
    pub fn every(interval: Duration) -> Self {
        let came = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGALRM, Arc::clone(&came))
            .expect("installs");
        set_timer(interval);
        Self(came)
    }

    /// Whether any signal arrived.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(not(any(target_os = "illumos", target_os = "solaris")))]
impl Drop for Ticks {
    fn drop(&mut self) {
        set_timer(Duration::ZERO);
    }
}

#[cfg(not(any(target_os = "illumos", target_os = "solaris")))]
fn set_timer(interval: Duration) {
    #[allow(clippy::useless_conversion)] // It is wider on some systems.
    let microseconds = interval.subsec_micros().cast_signed().into();
    let interval = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: the timer lives through the call, and its signal has a handler.
    let result = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

/// Runs `work` while the process can open no descriptor. It must not close any.
pub fn without_descriptors<R>(work: impl FnOnce() -> R) -> R {
    let limit = getrlimit(Resource::Nofile);
    // The lowest free descriptor is the first that is forbidden from now on.
    let next = std::fs::File::open("/dev/null").expect("there is one to spare").as_raw_fd();
    let current = u64::try_from(next).ok();
    setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum }).expect("is lowered");
    let result = work();
    setrlimit(Resource::Nofile, limit).expect("is raised to what it was");
    result
}

/// Whether a backend has a kernel object of its own, with a descriptor.
pub fn has_kernel_object(backend: Backend) -> bool {
    let next = || std::fs::File::open("/dev/null").expect("there is one to spare").as_raw_fd();
    let before = next();
    let _selector = Selector::<std::net::TcpStream>::with_backend(backend).expect("opens");
    next() != before
}

/// Raises the limit on descriptors to the system's maximum, and returns it.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .expect("may be raised that far");
    limit.maximum.unwrap_or(u64::MAX)
}
