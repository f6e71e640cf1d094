//! A table of descriptors that belongs to one thread, so that other tests of the process neither
//! take its descriptors nor keep its files open, and so that leaks can be counted.

#![cfg(target_os = "linux")]
#![allow(unsafe_code)] // `close_range` has no safe form.

use std::ffi::c_uint;
use std::{fs, io};

/// Gives the calling thread a table with standard input, output and error alone, which the threads that it
/// starts share. The thread must be new, and own no descriptor yet.
///
/// # Errors
///
/// `Unsupported` on kernels before 5.9, and the error of a sandbox.
pub fn separate() -> io::Result<()> {
    let unshare: c_uint = 1 << 1;
    // SAFETY: the call gives this thread a copy of the table and closes descriptors there only; the
    // thread has just begun and owns none of them.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3 as c_uint, c_uint::MAX, unshare) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns the open descriptors of the calling thread's table.
pub fn open_descriptors() -> io::Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir("/proc/thread-self/fd")? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    // The listing itself had the lowest free descriptor, and is closed by now.
    numbers.retain(|&number| is_open(number));
    numbers.sort_unstable();
    Ok(numbers)
}

fn is_open(number: i32) -> bool {
    // SAFETY: the call reads a flag of a descriptor, open or not.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}
