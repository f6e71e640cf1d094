//! The state of a descriptor as Linux shows it, read without changing it.

use std::ffi::{c_int, c_short};

pub const IN: c_short = libc::POLLIN;
pub const PRI: c_short = libc::POLLPRI;
pub const OUT: c_short = libc::POLLOUT;
pub const ERR: c_short = libc::POLLERR;
pub const HUP: c_short = libc::POLLHUP;
pub const RDHUP: c_short = libc::POLLRDHUP;
pub const NVAL: c_short = libc::POLLNVAL;

/// The state of one descriptor.
pub fn poll_now(number: c_int) -> c_short {
    let mut entry = libc::pollfd { fd: number, events: IN | PRI | OUT | RDHUP, revents: 0 };
    // SAFETY: one entry, which lives through the call.
    while unsafe { libc::poll(&raw mut entry, 1, 0) } < 0 {}
    entry.revents
}

pub fn is_open(number: c_int) -> bool {
    // SAFETY: any number may be asked for.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

pub fn stat(number: c_int) -> Option<libc::stat> {
    // SAFETY: zero is a valid `stat`, and the call fills it.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives through the call.
    (unsafe { libc::fstat(number, &raw mut status) } == 0).then_some(status)
}

/// Returns the number of bytes that can be read.
pub fn unread(number: c_int) -> i64 {
    let mut count: c_int = 0;
    // SAFETY: FIONREAD writes one integer.
    let result = unsafe { libc::ioctl(number, libc::FIONREAD, &raw mut count) };
    if result == 0 { count.into() } else { 0 }
}

/// Returns the distance of a regular file's offset from its end.
pub fn left_in_file(number: c_int) -> i64 {
    // SAFETY: moves nothing.
    let offset = unsafe { libc::lseek(number, 0, libc::SEEK_CUR) };
    stat(number).map_or(0, |status| status.st_size - offset.max(0))
}

fn option(number: c_int, name: c_int) -> Option<c_int> {
    let mut value: c_int = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the option is an integer, for which there is room.
    let result = unsafe {
        libc::getsockopt(number, libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut length)
    };
    (result == 0).then_some(value)
}

pub fn is_stream(number: c_int) -> bool {
    option(number, libc::SO_TYPE) == Some(libc::SOCK_STREAM)
}

pub fn listens(number: c_int) -> bool {
    option(number, libc::SO_ACCEPTCONN) == Some(1)
}

pub fn has_peer(number: c_int) -> bool {
    // SAFETY: zero is a valid address, and its length is passed.
    let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address lives through the call.
    unsafe { libc::getpeername(number, (&raw mut address).cast(), &raw mut length) == 0 }
}

/// Whether this side of a stream socket has shut down its writing, which `poll` does not show. An
/// empty send fails then, and has no effect otherwise. Not for a socket with a pending error, which
/// the call would consume.
pub fn has_ended_writing(number: c_int) -> bool {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: no byte is read.
    let sent = unsafe { libc::send(number, std::ptr::null(), 0, flags) };
    sent < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EPIPE)
}

pub fn is_writer(number: c_int) -> bool {
    // SAFETY: any number may be asked for.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFL) };
    flags >= 0 && flags & libc::O_ACCMODE != libc::O_RDONLY
}

pub fn is_terminal(number: c_int) -> bool {
    // SAFETY: any number may be asked for.
    unsafe { libc::isatty(number) == 1 }
}

/// Whether a pipe has a name. The link of an anonymous one is `pipe:[…]`.
pub fn is_named_fifo(number: c_int) -> bool {
    stat(number).is_some_and(|status| status.st_mode & libc::S_IFMT == libc::S_IFIFO)
        && std::fs::read_link(format!("/proc/self/fd/{number}"))
            .is_ok_and(|target| !target.to_string_lossy().starts_with("pipe:"))
}

/// Whether two descriptors refer to the same open file.
pub fn is_same_file(one: c_int, other: c_int) -> bool {
    const F_DUPFD_QUERY: c_int = 1024 + 3;
    const KCMP_FILE: c_int = 0;

    // SAFETY: compares two numbers.
    match unsafe { libc::fcntl(one, F_DUPFD_QUERY, other) } {
        0 => false,
        1 => true,
        // A kernel before 6.10.
        // SAFETY: compares two numbers of this process.
        _ => unsafe {
            let this = libc::getpid();
            is_open(one)
                && is_open(other)
                && libc::syscall(libc::SYS_kcmp, this, this, KCMP_FILE, one, other) == 0
        },
    }
}
