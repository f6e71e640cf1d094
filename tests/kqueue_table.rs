//! The results of a kqueue, one claim a row, to be read beside a manual page: each row runs on the
//! simulated kernel (`tests/kqueue_sim/`) with the profile that `POLYSELECT_KQUEUE_PROFILE` names,
//! and on libkqueue where that is installed. `scripts/kqueue` runs all profiles.

#![cfg(target_os = "linux")]
#![allow(unsafe_code)] // Foreign functions.
#![allow(clippy::cast_possible_wrap, clippy::multiple_unsafe_ops_per_block)] // Short lists, and a child of `fork`.

#[path = "support/closed_port.rs"]
mod closed_port;
#[path = "kqueue_table/kinds.rs"]
mod kinds;
mod kqueue_sim;
#[path = "kqueue_table/rows.rs"]
mod rows;

use std::ffi::{CStr, c_int, c_void};
use std::os::fd::{AsRawFd, RawFd};

use kqueue_sim::{EV_ERROR, kevent, profile};

/// The function `kqueue`.
type Open = unsafe extern "C" fn() -> c_int;

/// The function `kevent`.
type Call = unsafe extern "C" fn(
    c_int,
    *const kevent,
    c_int,
    *mut kevent,
    c_int,
    *const libc::timespec,
) -> c_int;

/// An implementation of kqueue.
#[derive(Clone, Copy)]
struct System {
    open: Open,
    call: Call,
}

/// A queue of an implementation.
struct Queue {
    system: System,
    number: RawFd,
}

/// The result of `kevent`: events, or an error number.
type Answer = Result<Vec<kevent>, c_int>;

fn change(source: &impl AsRawFd, filter: i16, flags: u16) -> kevent {
    let udata = std::ptr::without_provenance_mut(7);
    kevent { ident: source.as_raw_fd() as usize, filter, flags, fflags: 0, data: 0, udata }
}

impl Queue {
    fn new(system: System) -> Self {
        // SAFETY: has no conditions.
        let number = unsafe { (system.open)() };
        assert!(number >= 0);
        Self { system, number }
    }

    /// Makes one call that does not wait.
    fn call(&self, changes: &[kevent], room: usize) -> Answer {
        self.wait(changes, room, Some(0))
    }

    fn wait(&self, changes: &[kevent], room: usize, nanoseconds: Option<i64>) -> Answer {
        // SAFETY: zero is a valid event.
        let mut events = vec![unsafe { std::mem::zeroed::<kevent>() }; room];
        let timeout = nanoseconds.map(|tv_nsec| libc::timespec { tv_sec: 0, tv_nsec });
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the lists have the lengths that are passed.
        let count = unsafe {
            (self.system.call)(
                self.number,
                changes.as_ptr(),
                changes.len() as c_int,
                events.as_mut_ptr(),
                room as c_int,
                timeout,
            )
        };
        match usize::try_from(count) {
            Ok(count) => {
                events.truncate(count);
                Ok(events)
            }
            Err(_) => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        }
    }

    /// Applies changes that succeed.
    #[track_caller]
    fn set(&self, changes: &[kevent]) {
        assert!(self.call(changes, 0).is_ok(), "{changes:?}");
    }

    /// Returns the error of one change.
    fn error(&self, change: kevent) -> c_int {
        match self.call(&[change], 1) {
            Ok(answers) if answers.first().is_some_and(|it| it.flags & EV_ERROR != 0) => {
                answers[0].data as c_int
            }
            Ok(_) => 0,
            Err(error) => error,
        }
    }

    /// Returns the filters that are reported now.
    fn filters(&self) -> Vec<i16> {
        let mut filters: Vec<_> = self.events().iter().map(|event| event.filter).collect();
        filters.sort_unstable();
        filters
    }

    fn events(&self) -> Vec<kevent> {
        self.call(&[], 8).expect("has room")
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: its own number.
        unsafe { libc::close(self.number) };
    }
}

#[test]
fn the_simulated_kernel_answers_as_its_profile_says() {
    let system = System { open: kqueue_sim::kqueue, call: kevent };
    for (name, row) in rows::ROWS.iter().chain(kinds::ROWS) {
        println!("{}: {name}", profile().name);
        row(system);
    }
}

/// Rows in which libkqueue on Linux (2.6.2 and 2.7.0) differs from every BSD, and how.
const NOT_LIBKQUEUE: &[(&str, &str)] = &[
    (
        "EV_ADD with EV_CLEAR reports once, and again when it is added again",
        "adding it again does not report it",
    ),
    ("EV_ADD without EV_CLEAR does not take it away", "the change is an error"),
    ("EV_DISPATCH is disabled after one event, and EV_ADD enables it", "enabling it is an error"),
    (
        "EV_DELETE of an unknown filter is ENOENT, of a closed descriptor EBADF",
        "of a closed descriptor it is ENOENT",
    ),
    ("closing removes the filters", "it does not see close"),
    ("a number that comes back does not revive the filters", "it does not see close"),
    ("a bad change without room ends the list, with room it does not", "it returns both"),
    ("EV_RECEIPT answers each change, with its udata", "it returns events beside the receipts"),
    ("EV_RECEIPT without room ends the list", "it is an error"),
    ("only receipts are returned while events are pending", "it returns both"),
    (
        "own SHUT_WR ends the filter for writing, own SHUT_RD the one for reading",
        "the first is not an end",
    ),
    (
        "after a reset fflags has the error until SO_ERROR is read, and the end stays",
        "fflags or the end is missing",
    ),
    ("a refused connection ends both directions with ECONNREFUSED", "fflags or the end is missing"),
    ("a socket without a connection is silent", "epoll reports it"),
    ("an error of UDP is reported without an end", "it reports an end"),
    ("a filter added before listen", "epoll reports connections"),
    ("a pipe whose reader is gone takes no filter for writing", "epoll takes it"),
    ("a queue in a queue", "its queues are no files of the kernel"),
    (
        "queues inside each other, as many as the system takes",
        "its queues are no files of the kernel",
    ),
    ("a regular file is silent at its end", "it reports no event of the file"),
    ("/dev/null", "epoll refuses it"),
    ("NOTE_LOWAT is a number of bytes", "it is ignored"),
    ("a regular file and a filter for writing", "it takes the filter"),
    ("a directory", "epoll refuses it"),
    (
        "a queue is not inherited by fork, and its number is free in the child",
        "its queues are files of Linux",
    ),
];

#[test]
fn libkqueue_answers_as_the_rows_say() {
    let Some(system) = libkqueue() else {
        println!("skipped: libkqueue.so.0 is not installed");
        return;
    };
    if profile().name != "netbsd" {
        println!("skipped: libkqueue is compared with NetBSD");
        return;
    }
    for (name, row) in rows::ROWS.iter().chain(kinds::ROWS) {
        match NOT_LIBKQUEUE.iter().find(|(known, _)| known == name) {
            Some((_, why)) => println!("skipped: {name}: {why}"),
            None => {
                println!("libkqueue: {name}");
                row(system);
            }
        }
    }
}

fn libkqueue() -> Option<System> {
    let find = |name: &CStr| {
        // SAFETY: the library is opened for as long as the program runs.
        let library = unsafe { libc::dlopen(c"libkqueue.so.0".as_ptr(), libc::RTLD_NOW) };
        // SAFETY: the library is open, and the name ends with a zero.
        (!library.is_null()).then(|| unsafe { libc::dlsym(library, name.as_ptr()) })
    };
    let (open, call) = (find(c"kqueue")?, find(c"kevent")?);
    // SAFETY: the function of that library has this type.
    let open = unsafe { std::mem::transmute::<*mut c_void, Open>(open) };
    // SAFETY: as above; the structure in it is laid out as ours.
    let call = unsafe { std::mem::transmute::<*mut c_void, Call>(call) };
    Some(System { open, call })
}
