//! The differences between the systems.

use std::sync::LazyLock;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Profile {
    pub name: &'static str,
    /// The error of a filter for writing to a pipe without a reader; `None` reports the end.
    pub broken_pipe: Option<i32>,
    /// Whether the filter for writing to a full pipe never reports that the reader is closed.
    pub full_pipe_is_deaf: bool,
    /// Whether a filter for reading that was added before `listen` reports connections.
    pub sees_listen: bool,
    /// Whether there is a filter for priority data.
    pub has_except: bool,
    /// Whether there are filters that only the program triggers.
    pub has_user: bool,
    /// Whether directories, terminals and other devices are rejected, also by `poll`.
    pub refuses_devices: bool,
    /// Whether a named pipe reports that its last writer is closed.
    pub named_pipe_ends: bool,
    /// Whether a regular file takes a filter for writing, which is always true.
    pub file_takes_write: bool,
    /// Whether `EV_ENABLE` alone reports a dispatched filter that is still true.
    pub enable_reports: bool,
    /// The number of queues that can be nested.
    pub nested: Option<u32>,
    /// Timeouts are rounded up to a multiple of this, plus one more.
    pub tick: Duration,
}

const NETBSD: Profile = Profile {
    name: "netbsd",
    broken_pipe: Some(libc::EBADF),
    full_pipe_is_deaf: false,
    sees_listen: false,
    has_except: false,
    has_user: true,
    refuses_devices: false,
    named_pipe_ends: true,
    file_takes_write: false,
    enable_reports: false,
    nested: None,
    tick: Duration::ZERO,
};

pub const ALL_PROFILES: [Profile; 6] = [
    Profile {
        name: "netbsd-2016",
        full_pipe_is_deaf: true,
        has_user: false,
        tick: Duration::from_millis(10),
        ..NETBSD
    },
    NETBSD,
    Profile {
        name: "freebsd",
        broken_pipe: Some(libc::EPIPE),
        full_pipe_is_deaf: true,
        sees_listen: true,
        file_takes_write: true,
        enable_reports: true,
        ..NETBSD
    },
    Profile {
        name: "openbsd",
        broken_pipe: Some(libc::EPIPE),
        has_except: true,
        has_user: true,
        file_takes_write: true,
        enable_reports: true,
        ..NETBSD
    },
    Profile {
        name: "dragonfly",
        broken_pipe: Some(libc::EPIPE),
        has_except: true,
        file_takes_write: true,
        enable_reports: true,
        ..NETBSD
    },
    Profile {
        name: "macos",
        broken_pipe: None,
        sees_listen: true,
        has_except: true,
        refuses_devices: true,
        named_pipe_ends: false,
        file_takes_write: true,
        enable_reports: true,
        nested: Some(10),
        ..NETBSD
    },
];

/// The profile chosen by the environment.
pub fn profile() -> &'static Profile {
    static CHOSEN: LazyLock<Profile> = LazyLock::new(|| {
        let name = std::env::var("POLYSELECT_KQUEUE_PROFILE");
        let name = name.as_deref().unwrap_or("netbsd");
        let chosen = ALL_PROFILES.into_iter().find(|profile| profile.name == name);
        chosen.unwrap_or_else(|| panic!("POLYSELECT_KQUEUE_PROFILE: no system {name:?}"))
    });
    &CHOSEN
}
