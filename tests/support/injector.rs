//! Makes chosen system calls of the library fail: the n-th call of a kind, with a chosen error.
//!
//! A filter on the thread under test reports its system calls to a supervisor, which lets them run or
//! makes them fail. Only calls made [`inside`](Injector::inside) a call of the library count, so the test's
//! own calls pass. Threads and children that the thread under test starts inherit the filter; the
//! supervisor compares the number of the calling thread, so calls of a child never count.
//!
//! The system calls on x86_64, found with strace:
//!
//! | part | system calls |
//! |---|---|
//! | waker | `eventfd2`, `write`, `read`; in a forked child `dup2` and `fcntl` |
//! | epoll | `epoll_create1`, `epoll_ctl`, `epoll_pwait`; `ppoll` for timeouts below a millisecond |
//! | io_uring | `io_uring_setup`, `mmap` of the rings, `pipe2`, `fcntl`, `io_uring_enter`, `ppoll`, `epoll_create1` and `epoll_ctl` for files without readiness; `io_uring_register` for nesting |
//! | mio | `epoll_create1`, `epoll_ctl`, `epoll_wait`, `ppoll` |
//! | poll | `fcntl`, `ppoll` |
//! | select | `fcntl`, `pselect6`, `ppoll` |
//!
//! `close`, `munmap` and the system calls of the allocator and of threads never fail: the kernel
//! carries them out, whatever they return.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{c_int, c_long};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::{fmt, io, thread};

use libc::seccomp_data;
use rustix::fd::OwnedFd;
use rustix::thread::gettid;

#[path = "listener.rs"]
mod listener;

use listener::{Reported, answer, install, receive, watched_by};

/// A kind of system call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    EpollCreate,
    EpollAdd,
    EpollModify,
    EpollDelete,
    EpollWait,
    Poll,
    Select,
    RingSetup,
    RingMap,
    RingEnter,
    RingRegister,
    Eventfd,
    Pipe,
    Read,
    Write,
    /// `dup2`, `dup3` and `fcntl` with `F_DUPFD_CLOEXEC`.
    Duplicate,
    /// `fcntl` that reads or sets flags.
    Flags,
    Status,
}

#[cfg(target_pointer_width = "64")]
const MAP: c_long = libc::SYS_mmap;
#[cfg(target_pointer_width = "32")]
const MAP: c_long = libc::SYS_mmap2;

/// The system calls that are reported.
const REPORTED: &[c_long] = &[
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    MAP,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_read,
    libc::SYS_statx,
    libc::SYS_write,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

/// System calls that have no effect in the library if they fail: the allocator's, the threads',
/// `close`.
const HARMLESS: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_wait4,
];

impl Call {
    fn of(data: &seccomp_data) -> Option<Self> {
        let [_, second, _, _, fifth, _] = data.args;
        Some(match c_long::from(data.nr) {
            libc::SYS_epoll_create1 => Self::EpollCreate,
            libc::SYS_epoll_ctl => match second as c_int {
                libc::EPOLL_CTL_ADD => Self::EpollAdd,
                libc::EPOLL_CTL_MOD => Self::EpollModify,
                _ => Self::EpollDelete,
            },
            libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => Self::EpollWait,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_epoll_wait => Self::EpollWait,
            libc::SYS_ppoll => Self::Poll,
            libc::SYS_pselect6 => Self::Select,
            libc::SYS_io_uring_setup => Self::RingSetup,
            // Memory without a file is the allocator's.
            MAP if fifth as c_int >= 0 => Self::RingMap,
            libc::SYS_io_uring_enter => Self::RingEnter,
            libc::SYS_io_uring_register => Self::RingRegister,
            libc::SYS_eventfd2 => Self::Eventfd,
            libc::SYS_pipe2 => Self::Pipe,
            libc::SYS_read => Self::Read,
            libc::SYS_write => Self::Write,
            libc::SYS_dup3 => Self::Duplicate,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_dup2 => Self::Duplicate,
            libc::SYS_fcntl => match second as c_int {
                libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => Self::Duplicate,
                // The standard library's, before it closes a descriptor in a debug build.
                libc::F_GETFD => return None,
                _ => Self::Flags,
            },
            libc::SYS_fstat | libc::SYS_statx => Self::Status,
            _ => return None,
        })
    }
}

/// Which calls fail, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub call: Call,
    /// The first call that fails, counted from one.
    pub nth: u32,
    /// How many calls fail in a row.
    pub times: u32,
    pub errno: c_int,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, nth, times, errno } = self;
        let error = io::Error::from_raw_os_error(*errno);
        write!(f, "{call:?} from call {nth}, {times} times, with {:?} ({errno})", error.kind())
    }
}

/// That number of failures in one call of the library takes about a second, and it would retry for
/// ever.
const ENDLESS: u32 = 200_000;

#[derive(Debug)]
struct Armed {
    fault: Fault,
    /// Calls of the fault's kind since it was armed.
    counted: u32,
    failed: u32,
}

#[derive(Debug, Default)]
struct State {
    armed: BTreeMap<Call, Armed>,
    wrong: Option<String>,
    strangers: BTreeSet<i32>,
    /// How often each kind was called inside the library, and how often it failed.
    seen: BTreeMap<Call, (u64, u64)>,
    unknown: BTreeSet<c_long>,
}

/// Arms faults; shared between the thread under test and its supervisor.
#[derive(Debug, Default)]
pub struct Injector {
    /// The thread that is inside a call of the library; zero for none.
    inside: AtomicI32,
    state: Mutex<State>,
}

/// Runs `work` on a thread of its own whose system calls can be made to fail.
///
/// # Errors
///
/// The kernel's error if it rejects the filter; `work` does not run then.
///
/// # Panics
///
/// If `work` panics.
pub fn run<R: Send>(work: impl FnOnce(&Injector) -> R + Send) -> io::Result<R> {
    supervise(Reported::These(REPORTED), work)
}

/// As [`run`], with every system call reported but the harmless ones; see [`Injector::unknown`].
pub fn run_and_record<R: Send>(work: impl FnOnce(&Injector) -> R + Send) -> io::Result<R> {
    supervise(Reported::AllBut(HARMLESS), work)
}

fn supervise<R: Send>(
    reported: Reported<'_>,
    work: impl FnOnce(&Injector) -> R + Send,
) -> io::Result<R> {
    let injector = &Injector::default();
    thread::scope(|scope| {
        let (to_supervisor, from_worker) = mpsc::sync_channel::<OwnedFd>(1);
        let worker = scope.spawn(move || {
            let listener = install(reported)?;
            to_supervisor.send(listener).expect("the supervisor receives");
            drop(to_supervisor);
            Ok(work(injector))
        });
        if let Ok(listener) = from_worker.recv() {
            // It ends when the thread and all that it started have ended. If this loop fails, the
            // listener is closed and their calls fail with ENOSYS: nothing hangs.
            while let Some(notification) = receive(&listener)? {
                let errno = injector.decide(notification.thread, &notification.data);
                answer(&listener, &notification, errno)?;
            }
        }
        worker.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

impl Injector {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, thread: u32, data: &seccomp_data) -> Option<c_int> {
        if self.inside.load(Ordering::Acquire).cast_unsigned() != thread {
            return None;
        }
        let state = &mut *self.state();
        let Some(call) = Call::of(data) else {
            state.unknown.insert(data.nr.into());
            return None;
        };
        if let Some(number) = watched_by(data).iter().find(|fd| state.strangers.contains(fd)) {
            state.wrong = Some(format!("a stranger's descriptor is watched: {number} by {call:?}"));
        }
        let seen = state.seen.entry(call).or_default();
        seen.0 += 1;
        let armed = state.armed.get_mut(&call)?;
        armed.counted += 1;
        if armed.counted < armed.fault.nth || armed.failed >= armed.fault.times {
            return None;
        }
        if armed.failed >= ENDLESS {
            state.wrong = Some(format!("the library repeats a failing call for ever: {call:?}"));
            return None;
        }
        armed.failed += 1;
        seen.1 += 1;
        Some(armed.fault.errno)
    }

    /// Makes calls fail from now on; replaces an earlier fault of the same kind.
    pub fn arm(&self, fault: Fault) {
        self.state().armed.insert(fault.call, Armed { fault, counted: 0, failed: 0 });
    }

    /// Removes all faults, strangers, and reports of the supervisor.
    pub fn reset(&self) {
        let state = &mut *self.state();
        state.armed.clear();
        state.strangers.clear();
        state.wrong = None;
    }

    /// Runs a call of the library, and returns whether a system call failed in it. The faults that
    /// it has met are disarmed then.
    pub fn inside<R>(&self, call: impl FnOnce() -> R) -> (R, bool) {
        struct Outside<'a>(&'a AtomicI32);
        impl Drop for Outside<'_> {
            fn drop(&mut self) {
                self.0.store(0, Ordering::Release);
            }
        }
        self.inside.store(gettid().as_raw_nonzero().get(), Ordering::Release);
        let outside = Outside(&self.inside);
        let result = call();
        drop(outside);
        let armed = &mut self.state().armed;
        let before = armed.len();
        armed.retain(|_, armed| armed.failed == 0);
        (result, armed.len() < before)
    }

    /// Declares a descriptor that the library must not watch.
    pub fn add_stranger(&self, number: i32) {
        self.state().strangers.insert(number);
    }

    pub fn remove_stranger(&self, number: i32) {
        self.state().strangers.remove(&number);
    }

    /// Takes the reports of the supervisor.
    pub fn take_wrong(&self) -> Option<String> {
        self.state().wrong.take()
    }

    /// How often each kind was called inside the library, and how often it was made to fail.
    pub fn seen(&self) -> BTreeMap<Call, (u64, u64)> {
        self.state().seen.clone()
    }

    /// Numbers of system calls that the library made and that no [`Call`] stands for.
    pub fn unknown(&self) -> BTreeSet<c_long> {
        let mut unknown = self.state().unknown.clone();
        // Memory of the allocator's, and F_GETFD.
        unknown.retain(|call| ![MAP, libc::SYS_fcntl].contains(call));
        unknown
    }
}
