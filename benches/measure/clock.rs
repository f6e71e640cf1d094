//! CPU time, of this process and of another.

#![allow(unsafe_code)] // The clock of another process is not in rustix.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// User and system time that this process has used so far.
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// CPU time of `work`.
pub fn timed(work: impl FnOnce() -> io::Result<()>) -> io::Result<Duration> {
    let before = cpu_time();
    work()?;
    Ok(cpu_time() - before)
}

/// The CPU time of all threads of a process, read from outside. A thread in the process that reports it would slow down
/// the system calls of the others.
#[derive(Debug)]
pub struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// Of the process with this id.
    pub fn of(process: u32) -> io::Result<Self> {
        let process = libc::pid_t::try_from(process).map_err(io::Error::other)?;
        let mut clock = MaybeUninit::uninit();
        // SAFETY: the clock's id is written to where the pointer leads.
        match unsafe { libc::clock_getcpuclockid(process, clock.as_mut_ptr()) } {
            // SAFETY: written, as the call says.
            0 => Ok(Self(unsafe { clock.assume_init() })),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// User and system time so far.
    pub fn read(&self) -> io::Result<Duration> {
        let mut time = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: the time is written to where the pointer leads.
        if unsafe { libc::clock_gettime(self.0, time.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: written, as the call says.
        let time = unsafe { time.assume_init() };
        let seconds = u64::try_from(time.tv_sec).map_err(io::Error::other)?;
        let nanoseconds = u32::try_from(time.tv_nsec).map_err(io::Error::other)?;
        Ok(Duration::new(seconds, nanoseconds))
    }
}
