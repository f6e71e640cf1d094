//! System calls for child processes.

#![cfg_attr(unix, allow(unsafe_code))] // `pidfd_open` and `waitid`, which rustix has in a feature that doubles what is compiled of it.

#[cfg(all(windows, feature = "async"))]
mod pipe;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use std::{io, os::fd::OwnedFd};

#[cfg(all(windows, feature = "async"))]
pub(crate) use pipe::Pipe;
#[cfg(all(windows, feature = "async"))]
pub(crate) use windows::OnEnd;
#[cfg(windows)]
pub(crate) use windows::{AnyEnd, EndWait};

/// Opens a descriptor that becomes readable when the child `process` has ended.
#[cfg(target_os = "linux")]
pub(crate) fn open_pidfd(process: u32) -> io::Result<OwnedFd> {
    use std::os::fd::{FromRawFd, RawFd};

    let no_flags: libc::c_uint = 0;
    // SAFETY: the arguments are two integers, so the call reads and writes no memory of this process.
    let number = unsafe { libc::syscall(libc::SYS_pidfd_open, process, no_flags) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened this descriptor, and its number is known here only.
    Ok(unsafe { OwnedFd::from_raw_fd(number as RawFd) })
}

/// Fails, because other systems have no such descriptor.
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) fn open_pidfd(_process: u32) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Blocks until the child `process` has ended, and leaves it to be reaped.
#[cfg(all(unix, feature = "async"))]
pub(crate) fn wait_for_end(process: u32) -> io::Result<()> {
    loop {
        // SAFETY: all zeros are a valid `siginfo_t`.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = libc::WEXITED | libc::WNOWAIT;
        // Its type differs between systems.
        #[allow(clippy::cast_lossless, clippy::cast_possible_wrap, clippy::unnecessary_cast)]
        let process = process as libc::id_t;
        // SAFETY: `info` is valid for writes, and the other arguments are integers.
        let result = unsafe { libc::waitid(libc::P_PID, process, &raw mut info, flags) };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
