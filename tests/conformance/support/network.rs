//! A network that can be switched off, and socket options that no crate sets.

#![allow(unsafe_code)] // None of the calls has a safe form.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::{io, process};

use super::harness::SKIPPED;
use super::process::fork;

/// Runs a part of the case in a fork of this process with a network namespace of its own, which
/// contains loopback only. Existing sockets stay in their network. Skips the case if the system
/// does not allow it.
pub fn in_own_network(work: impl FnOnce()) {
    let child = fork(|| {
        if let Err(error) = enter_own_network() {
            eprintln!("no network of its own can be had here: {error}");
            // SAFETY: ends the process and touches no memory.
            unsafe { libc::_exit(SKIPPED) }
        }
        work();
    });
    let status = child.wait();
    match status.exit_status() {
        Some(0) => {}
        Some(SKIPPED) => process::exit(SKIPPED),
        _ => panic!("in the child: {status:?}"),
    }
}

/// Creates a user namespace, which permits a network namespace; it requires a process with one
/// thread.
fn enter_own_network() -> io::Result<()> {
    // SAFETY: what the process has open stays what it is, and no other thread is there to be surprised.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    try_switch_loopback(true)
}

/// Switches this network on or off.
pub fn switch_loopback(on: bool) {
    try_switch_loopback(on).expect("could be switched on before");
}

fn try_switch_loopback(on: bool) -> io::Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    let mut name = [0; libc::IFNAMSIZ];
    for (place, byte) in name.iter_mut().zip(b"lo") {
        *place = byte.cast_signed() as libc::c_char;
    }
    let flags = if on { libc::IFF_UP } else { 0 } as libc::c_short;
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    // SAFETY: the request lives through the call, which reads it.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets a numeric socket option.
pub fn set_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) {
    let size = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the value lives through the call, which reads `size` bytes of it.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size)
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
