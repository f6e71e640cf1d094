//! The filters of each kind of file, and whether one is true: the kernel's `f_attach` and
//! `f_event`.

use std::ffi::c_int;

use super::abi::{EVFILT_EXCEPT, EVFILT_READ, EVFILT_USER, EVFILT_WRITE, NOTE_LOWAT, NOTE_OOB};
use super::eyes::{self, ERR, HUP, IN, OUT, PRI, RDHUP};
use super::profile::profile;

/// The kind of file that a filter was attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Listener,
    Stream {
        had_peer: bool,
    },
    Datagram,
    Pipe {
        is_named: bool,
        is_writer: bool,
    },
    Queue,
    File,
    Device,
    Terminal,
    /// No file.
    User,
    Other,
}

/// A filter that is true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    pub data: i64,
    pub is_eof: bool,
    pub fflags: u32,
}

pub fn class_of(number: c_int) -> Class {
    let kind = eyes::stat(number).map_or(0, |status| status.st_mode & libc::S_IFMT);
    match kind {
        libc::S_IFSOCK if eyes::listens(number) => Class::Listener,
        libc::S_IFSOCK if eyes::is_stream(number) => {
            Class::Stream { had_peer: eyes::has_peer(number) }
        }
        libc::S_IFSOCK => Class::Datagram,
        libc::S_IFIFO => Class::Pipe {
            is_named: eyes::is_named_fifo(number),
            is_writer: eyes::is_writer(number),
        },
        libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK => Class::File,
        libc::S_IFCHR if eyes::is_terminal(number) => Class::Terminal,
        libc::S_IFCHR => Class::Device,
        _ => Class::Other,
    }
}

/// Attaches the filter if that is possible, or returns the error number.
pub fn attach(class: Class, number: c_int, filter: i16) -> Result<(), c_int> {
    let profile = profile();
    if filter == EVFILT_EXCEPT && !profile.has_except || filter == EVFILT_USER && !profile.has_user
    {
        return Err(libc::EINVAL);
    }
    match (class, filter) {
        (Class::User, EVFILT_USER) => Ok(()),
        (Class::User, _) | (_, EVFILT_USER) => Err(libc::EINVAL),
        (Class::Queue, EVFILT_READ) => Ok(()),
        (Class::Queue, _) => Err(libc::EINVAL),
        (Class::Terminal | Class::Device, _) if profile.refuses_devices => Err(libc::EINVAL),
        (Class::File, _) if profile.refuses_devices && is_directory(number) => Err(libc::EINVAL),
        (Class::File, EVFILT_WRITE) if !profile.file_takes_write => Err(libc::EOPNOTSUPP),
        (Class::Pipe { .. }, EVFILT_EXCEPT) if profile.name == "macos" => Err(libc::EINVAL),
        (Class::Pipe { .. }, EVFILT_WRITE) => {
            let is_broken = eyes::poll_now(number) & (ERR | HUP) != 0;
            profile.broken_pipe.filter(|_| is_broken).map_or(Ok(()), Err)
        }
        _ => Ok(()),
    }
}

fn is_directory(number: c_int) -> bool {
    eyes::stat(number).is_some_and(|status| status.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// Whether the filter of a file is true now. The filters of queues are checked by their owner.
pub fn look(class: Class, number: c_int, filter: i16, fflags: u32, low: i64) -> Option<Truth> {
    let true_with = |data| Some(Truth { data, ..Truth::default() });
    match (class, filter) {
        (Class::File, EVFILT_READ) => match eyes::left_in_file(number) {
            0 => None,
            left => true_with(left),
        },
        (Class::File | Class::Device, EVFILT_READ | EVFILT_WRITE) => true_with(0),
        (Class::File | Class::Device, _) => None,
        (Class::Pipe { is_named, is_writer }, _) => {
            pipe(is_named, is_writer, number, filter, fflags, low)
        }
        (Class::Listener, EVFILT_READ) => {
            let waits = eyes::poll_now(number) & IN != 0;
            if waits { true_with(1) } else { None }
        }
        (Class::Listener, _) => None,
        (Class::Stream { .. } | Class::Datagram, _) => socket(class, number, filter, fflags, low),
        _ => {
            let seen = eyes::poll_now(number);
            let is_eof = seen & HUP != 0;
            let wanted = match filter {
                EVFILT_READ => IN | HUP | ERR,
                EVFILT_WRITE => OUT | ERR | HUP,
                _ => PRI,
            };
            (seen & wanted != 0).then_some(Truth {
                data: eyes::unread(number),
                is_eof,
                fflags: if filter == EVFILT_EXCEPT { NOTE_OOB } else { 0 },
            })
        }
    }
}

fn pipe(
    is_named: bool,
    is_writer: bool,
    number: c_int,
    filter: i16,
    fflags: u32,
    low: i64,
) -> Option<Truth> {
    let seen = eyes::poll_now(number);
    let is_eof = seen & (ERR | HUP) != 0 && !(is_named && !is_writer && !profile().named_pipe_ends);
    let least = if fflags & NOTE_LOWAT != 0 { low.max(1) } else { 1 };
    match filter {
        EVFILT_READ if is_writer => is_eof.then_some(Truth { is_eof, ..Truth::default() }),
        EVFILT_READ => {
            let data = eyes::unread(number);
            (data >= least || is_eof).then_some(Truth { data, is_eof, fflags: 0 })
        }
        EVFILT_WRITE => {
            let is_full = seen & OUT == 0;
            let is_deaf = is_full && profile().full_pipe_is_deaf;
            (!is_full || is_eof && !is_deaf).then_some(Truth { data: 4096, is_eof, fflags: 0 })
        }
        _ => is_eof.then_some(Truth { is_eof, ..Truth::default() }),
    }
}

fn socket(class: Class, number: c_int, filter: i16, fflags: u32, low: i64) -> Option<Truth> {
    let seen = eyes::poll_now(number);
    let is_stream = class != Class::Datagram;
    // A socket that was never connected: Linux reports `OUT | HUP`, a BSD nothing.
    if is_stream && seen & (HUP | IN | ERR | RDHUP) == HUP {
        return None;
    }
    // Its filter was attached before `listen`.
    if is_stream && eyes::listens(number) {
        let sees = filter == EVFILT_READ && profile().sees_listen && seen & IN != 0;
        return sees.then_some(Truth { data: 1, ..Truth::default() });
    }
    let error = match class {
        Class::Stream { had_peer } if seen & ERR != 0 && seen & HUP != 0 => {
            if had_peer {
                libc::ECONNRESET
            } else {
                libc::ECONNREFUSED
            }
        }
        _ => 0,
    } as u32;
    let (has_error, has_ended) = (seen & ERR != 0, seen & HUP != 0);
    match filter {
        EVFILT_READ => {
            let (data, is_eof) = (eyes::unread(number), is_stream && seen & (RDHUP | HUP) != 0);
            // FIONREAD ends at an urgent byte, read or not.
            let is_low = fflags & NOTE_LOWAT != 0 && data < low;
            let has_data = seen & IN != 0 && !is_low;
            (has_data || is_eof || has_error).then_some(Truth {
                data,
                is_eof,
                fflags: if is_eof { error } else { 0 },
            })
        }
        EVFILT_WRITE => {
            let is_eof = is_stream && (has_ended || !has_error && eyes::has_ended_writing(number));
            (seen & OUT != 0 || is_eof || has_error).then_some(Truth {
                data: 4096,
                is_eof,
                fflags: if is_eof { error } else { 0 },
            })
        }
        _ => {
            let is_eof = is_stream && seen & (RDHUP | HUP) != 0;
            let out_of_band = if seen & PRI != 0 { NOTE_OOB } else { 0 };
            (out_of_band != 0 || is_eof).then_some(Truth { data: 0, is_eof, fflags: out_of_band })
        }
    }
}
