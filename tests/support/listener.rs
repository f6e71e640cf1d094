//! The kernel's half of the injector: a seccomp filter that reports system calls to a listener before they
//! run, and the answers of the listener.

#![allow(unsafe_code)] // seccomp and its listener have no safe form.

use std::ffi::{c_int, c_long, c_uint, c_ulong};
use std::io;

use libc::{seccomp_data, seccomp_notif, seccomp_notif_resp, sock_filter};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::ioctl::opcode;

/// Which system calls a filter reports.
#[derive(Clone, Copy, Debug)]
pub enum Reported<'a> {
    These(&'a [c_long]),
    AllBut(&'a [c_long]),
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: Option<u32> = Some(0xc000_00b7);
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: Option<u32> = Some(0xc000_00f3);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
const ARCHITECTURE: Option<u32> = None;

// The offsets of `nr` and `arch` in `seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

const fn load(offset: u32) -> sock_filter {
    let code = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    sock_filter { code, jt: 0, jf: 0, k: offset }
}

/// Runs the next instruction only if the comparison of the loaded value with `value` gives `equal`.
const fn if_equal(value: u32, equal: bool) -> sock_filter {
    let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    sock_filter { code, jt: !equal as u8, jf: equal as u8, k: value }
}

const fn end(action: u32) -> sock_filter {
    let code = (libc::BPF_RET | libc::BPF_K) as u16;
    sock_filter { code, jt: 0, jf: 0, k: action }
}

fn program(reported: Reported<'_>, architecture: u32) -> Vec<sock_filter> {
    let (calls, listed, others) = match reported {
        Reported::These(calls) => (calls, libc::SECCOMP_RET_USER_NOTIF, libc::SECCOMP_RET_ALLOW),
        Reported::AllBut(calls) => (calls, libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_USER_NOTIF),
    };
    let mut program = vec![load(ARCH), if_equal(architecture, false)];
    program.extend([end(libc::SECCOMP_RET_ALLOW), load(NUMBER)]);
    for &call in calls {
        program.extend([if_equal(call as u32, true), end(listed)]);
    }
    program.push(end(others));
    program
}

/// Installs a filter on the calling thread, and returns its listener. Threads and processes that this
/// thread starts from now on inherit the filter; the others of the process do not have it.
///
/// # Errors
///
/// `Unsupported` on an architecture without a filter here; otherwise the error of the kernel, for
/// example in a sandbox whose own filter has a listener.
pub fn install(reported: Reported<'_>) -> io::Result<OwnedFd> {
    let architecture = ARCHITECTURE.ok_or(io::ErrorKind::Unsupported)?;
    rustix::thread::set_no_new_privs(true)?;
    let mut program = program(reported, architecture);
    let len = u16::try_from(program.len()).expect("a filter has few instructions");
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    let (operation, flags) =
        (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: the program lives through the call, and its length is the vector's.
    let listener =
        unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const program) };
    match c_int::try_from(listener) {
        // SAFETY: the kernel has just opened this descriptor for the caller.
        Ok(number @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(number) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A system call that waits for its answer.
pub struct Notification {
    id: u64,
    /// The thread that called, by the number that `gettid` returns.
    pub thread: u32,
    pub data: seccomp_data,
}

/// Waits for the next system call. `None` when the filter has no thread left.
pub fn receive(listener: &OwnedFd) -> io::Result<Option<Notification>> {
    loop {
        let mut entry = [PollFd::new(listener, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut entry, None))?;
        if !entry[0].revents().contains(PollFlags::IN) {
            return Ok(None);
        }
        // SAFETY: the structure consists of integers, for which zero is valid.
        let mut found: seccomp_notif = unsafe { std::mem::zeroed() };
        let Err(error) = request(listener, 0, &mut found) else {
            return Ok(Some(Notification { id: found.id, thread: found.pid, data: found.data }));
        };
        // A signal interrupted this thread, or ended the call that was reported.
        if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOENT)) {
            return Err(error);
        }
    }
}

/// Lets a system call run, or makes it fail with `errno` without running.
pub fn answer(
    listener: &OwnedFd,
    notification: &Notification,
    errno: Option<c_int>,
) -> io::Result<()> {
    // SAFETY: the structure consists of integers, for which zero is valid.
    let mut response: seccomp_notif_resp = unsafe { std::mem::zeroed() };
    response.id = notification.id;
    match errno {
        Some(errno) => response.error = -errno,
        None => response.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as c_uint,
    }
    match request(listener, 1, &mut response) {
        // A signal has ended the call meanwhile; it is reported again if it is restarted.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// Makes the request of the listener with this number, which reads or writes one `T`.
fn request<T>(listener: &OwnedFd, number: u8, value: &mut T) -> io::Result<()> {
    let request = c_ulong::from(opcode::read_write::<T>(b'!', number));
    // SAFETY: the number of the request contains the size of `T`, which lives through the call.
    let result = unsafe {
        libc::syscall(libc::SYS_ioctl, listener.as_raw_fd(), request, std::ptr::from_mut(value))
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The descriptors that a call of `ppoll`, `pselect6` or `epoll_ctl` names.
pub fn watched_by(data: &seccomp_data) -> Vec<i32> {
    let [first, second, ..] = data.args;
    match c_long::from(data.nr) {
        libc::SYS_ppoll => {
            // SAFETY: the caller is a thread of this process, which sleeps in `ppoll` until it is
            // answered; what it passed is an array of this length.
            let entries = unsafe { slice(first, second as usize) };
            entries.iter().map(|entry: &libc::pollfd| entry.fd).collect()
        }
        libc::SYS_pselect6 => {
            let (bits, sets) = (first as usize, &data.args[1..4]);
            let words = |&set: &u64| -> &[u64] {
                // SAFETY: as above; the kernel reads sets of whole words.
                unsafe { slice(set, bits.div_ceil(64)) }
            };
            let is_in = |number: &usize| {
                sets.iter().map(words).any(|set| {
                    set.get(number / 64).is_some_and(|word| word & 1 << (number % 64) != 0)
                })
            };
            (0..bits).filter(is_in).filter_map(|number| number.try_into().ok()).collect()
        }
        libc::SYS_epoll_ctl if second as c_int != libc::EPOLL_CTL_DEL => vec![data.args[2] as i32],
        _ => Vec::new(),
    }
}

/// # Safety
///
/// `address` is zero, or that of `len` values that live, and do not change, while the slice does.
unsafe fn slice<'a, T>(address: u64, len: usize) -> &'a [T] {
    if address == 0 || len == 0 {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(address as *const T, len) }
}
