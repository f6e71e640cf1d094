//! `poll`, which on macOS is built on kqueue and reports descriptors that kqueue rejects as
//! invalid.

use rustix::event::{PollFd, Timespec};
use rustix::fd::{AsFd, AsRawFd};

use super::filter::{Class, class_of};
use super::{eyes, profile};

pub fn poll(entries: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> rustix::io::Result<usize> {
    let refused: Vec<_> = (0..entries.len())
        .filter(|&index| profile().refuses_devices && is_refused(&entries[index]))
        .collect();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let timeout = if refused.is_empty() { timeout } else { Some(&now) };
    let mut found = rustix::event::poll(entries, timeout)?;
    for index in refused {
        if entries[index].revents().is_empty() {
            found += 1;
        }
        let entry = (&raw mut entries[index]).cast::<libc::pollfd>();
        // SAFETY: `PollFd` is the kernel's structure and its lifetime.
        unsafe { (*entry).revents = libc::POLLNVAL };
    }
    Ok(found)
}

fn is_refused(entry: &PollFd<'_>) -> bool {
    let number = entry.as_fd().as_raw_fd();
    match class_of(number) {
        Class::Device | Class::Terminal => true,
        Class::File => {
            eyes::stat(number).is_some_and(|status| status.st_mode & libc::S_IFMT == libc::S_IFDIR)
        }
        _ => false,
    }
}
