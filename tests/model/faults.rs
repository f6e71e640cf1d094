//! Calls of the library in which a system call may fail.

use std::time::{Duration, Instant};

use polyselect::Backend;

use super::injector::Injector;
#[cfg(unix)]
use super::injector::{Call, Fault};
use super::program::{Outcome, Run, Sel};

/// The environment of a program.
#[derive(Clone, Copy, Default)]
pub struct Setting<'a> {
    /// `None` if no system call fails.
    pub injector: Option<&'a Injector>,
    /// Whether calls of the simulated `kevent` fail.
    pub fails_kevent: bool,
    /// `None` if no wait is without a timeout.
    pub watchdog: Option<&'a super::watchdog::Watchdog>,
    /// The number of descriptors before the selector, in a table that no other test shares.
    pub own_descriptors: Option<usize>,
}

/// The longest time a call may take. A call that waits for a forked child to release a ring waits
/// up to 50 ms; the rest is for a busy machine.
const LONGEST_BESIDE_A_CHILD: Duration = Duration::from_millis(1500);

/// How a system call fails; see `Fault`.
#[cfg_attr(windows, allow(dead_code))]
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    pub nth: u32,
    pub times: u32,
    pub errno: i32,
}

/// The system calls of a backend and of the waker, and those that open any backend.
#[cfg(unix)]
fn calls(backend: Backend) -> &'static [Call] {
    use Call::*;

    match backend {
        Backend::Epoll | Backend::Mio => &[
            EpollCreate,
            EpollAdd,
            EpollModify,
            EpollDelete,
            EpollWait,
            Poll,
            Eventfd,
            Read,
            Write,
            Duplicate,
            RingSetup,
            RingMap,
            Pipe,
            Flags,
        ],
        Backend::IoUring => &[
            RingSetup,
            RingMap,
            RingEnter,
            RingRegister,
            Pipe,
            Flags,
            Poll,
            EpollCreate,
            EpollAdd,
            RingEnter,
            Eventfd,
            Read,
            Write,
            Duplicate,
            RingEnter,
        ],
        _ => &[
            Poll,
            Select,
            Flags,
            Eventfd,
            Read,
            Write,
            Duplicate,
            EpollCreate,
            EpollAdd,
            RingSetup,
            RingMap,
            Pipe,
        ],
    }
}

impl Run<'_> {
    /// Makes a system call of the library fail from now on, until it has failed.
    pub fn arm(&mut self, index: usize, failure: Failure) {
        let fails_kevent = self.setting.fails_kevent && self.selector.backend() == Backend::Kqueue;
        if fails_kevent {
            kevent::arm(failure, index.is_multiple_of(2));
        }
        #[cfg(unix)]
        if !fails_kevent {
            self.arm_injector(index, failure);
        }
    }

    #[cfg(unix)]
    fn arm_injector(&self, index: usize, failure: Failure) {
        let Some(injector) = self.setting.injector else { return };
        let calls = calls(self.selector.backend());
        let (call, Failure { nth, times, errno }) = (calls[index % calls.len()], failure);
        // A call that a signal interrupts is rightly repeated for as long as that happens.
        let times = if errno == libc::EINTR { times.min(3) } else { times };
        injector.arm(Fault { call, nth, times, errno });
    }

    /// Calls the library, and returns whether a system call failed in it.
    pub fn library<R>(
        &mut self,
        name: &str,
        call: impl FnOnce(&mut Sel) -> R,
    ) -> Result<(R, bool), String> {
        let (start, has_ring) = (Instant::now(), self.has_ring());
        let (result, failed) = match self.setting.injector {
            Some(injector) => injector.inside(|| call(&mut self.selector)),
            None => {
                let before = kevent::failures();
                let result = call(&mut self.selector);
                (result, kevent::failures() > before)
            }
        };
        self.has_failed |= failed;
        self.has_just_failed |= failed;
        self.has_left_ring |= failed && has_ring;
        if failed {
            // See `nest`.
            self.nested = None;
        }
        if self.living_child.is_some() && start.elapsed() > LONGEST_BESIDE_A_CHILD {
            return Err(format!("{name} blocks while a child lives: {:?}", start.elapsed()));
        }
        self.check_injector()?;
        Ok((result, failed))
    }

    pub fn check_injector(&self) -> Outcome {
        self.setting.injector.and_then(Injector::take_wrong).map_or(Ok(()), Err)
    }
}

/// The simulated system call of kqueue. It is in this process, where no filter applies.
pub mod kevent {
    use super::Failure;

    #[cfg(kqueue_sim)]
    #[allow(unsafe_code)] // The simulation's own functions.
    unsafe extern "C" {
        safe fn kqueue_sim_fail(nth: u32, error: i32, in_a_change: bool) -> bool;
        safe fn kqueue_sim_failures() -> u64;
    }

    /// Makes its n-th call fail, or the first change of that call.
    pub fn arm(failure: Failure, in_a_change: bool) {
        // In a change, `EPERM` means that the kind of file has no filter, and `EINTR` has no
        // meaning.
        #[cfg(kqueue_sim)]
        kqueue_sim_fail(
            failure.nth,
            failure.errno,
            in_a_change && ![libc::EPERM, libc::EINTR].contains(&failure.errno),
        );
        #[cfg(not(kqueue_sim))]
        let _ = (failure, in_a_change);
    }

    pub fn disarm() {
        #[cfg(kqueue_sim)]
        kqueue_sim_fail(0, 0, false);
    }

    /// Returns the number of calls that have failed.
    pub fn failures() -> u64 {
        #[cfg(kqueue_sim)]
        return kqueue_sim_failures();
        #[cfg(not(kqueue_sim))]
        0
    }
}
