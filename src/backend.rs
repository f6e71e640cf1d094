//! [`Backend`]: the mechanisms, what each can do, and how it is opened.

use std::str::FromStr;
use std::time::Duration;
use std::{env, error, fmt, io};

use crate::descriptor::Descriptor;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;

mod abilities;
#[cfg(any(epoll, mio))]
mod always_ready;
mod direct;
#[cfg(epoll)]
mod epoll;
#[cfg(any(io_uring, mio))]
mod hints;
#[cfg(io_uring)]
mod io_uring;
#[cfg(kqueue)]
mod kqueue;
/// What can be tested of kqueue without one.
#[cfg(all(test, unix, not(kqueue)))]
#[path = "backend/kqueue/book.rs"]
mod kqueue_book;
#[cfg(mio)]
mod mio;
mod poll;
mod poll_set;
mod select;

/// Stand in for a mechanism that this system does not have, or that was not compiled in.
#[allow(dead_code)]
mod absent {
    use std::io;

    use super::Mechanism;

    pub(super) mod system {
        pub(in super::super) fn open() -> std::io::Result<Box<dyn super::Mechanism>> {
            Err(std::io::ErrorKind::Unsupported.into())
        }
    }

    fn feature(name: &str) -> io::Result<Box<dyn Mechanism>> {
        let message = format!("it was not compiled in: it needs the cargo feature `{name}`");
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }

    pub(super) mod io_uring {
        pub(in super::super) fn open() -> std::io::Result<Box<dyn super::Mechanism>> {
            super::feature("io-uring")
        }
    }

    pub(super) mod mio {
        pub(in super::super) fn open() -> std::io::Result<Box<dyn super::Mechanism>> {
            super::feature("mio")
        }
    }
}
#[cfg(all(target_os = "linux", not(io_uring)))]
use absent::io_uring;
#[cfg(all(unix, not(mio)))]
use absent::mio;
#[cfg(not(target_os = "linux"))]
use absent::system as io_uring;
#[cfg(not(epoll))]
use absent::system as epoll;
#[cfg(not(kqueue))]
use absent::system as kqueue;
#[cfg(not(unix))]
use absent::system as mio;

pub use abilities::Abilities;
#[cfg(kqueue)]
pub(crate) use kqueue::Queue;
pub(crate) use poll_set::check_open;

/// What a mechanism does: it is told what to watch, and waits.
///
/// All bookkeeping is the selector's. It says only what differs from before, each descriptor once,
/// and never asks for what [`Abilities`] rule out.
pub(crate) trait Mechanism: fmt::Debug + Send + Sync {
    /// Watches `new` where it watched `old` before; an empty interest is not watched at all. Takes
    /// effect with the next wait at the latest. The same watch again reports an edge again and arms
    /// a one-shot again.
    fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()>;

    /// Adds what is ready to `events`, sleeping until there is something, but no longer than
    /// `timeout`. It may come back early with nothing; an error of kind `Interrupted` says that a
    /// signal was the reason.
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()>;

    /// The epoll on which one `epoll_wait` is all that a wait without a timeout needs just now, and
    /// one `epoll_ctl`, if it succeeds, all that an update does.
    #[cfg(epoll)]
    fn plain_epoll(&self) -> Option<rustix::fd::BorrowedFd<'_>> {
        None
    }

    /// Tells the kernel at once what `update` left for the next wait, for somebody waits already.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// A descriptor that is readable while the kernel has an event.
    #[cfg(any(epoll, kqueue))]
    fn descriptor(&mut self) -> io::Result<Option<rustix::fd::BorrowedFd<'_>>> {
        Ok(None)
    }

    /// Whether there is an event of which that descriptor knows nothing.
    fn has_hidden_event(&self) -> bool {
        false
    }
}

/// A way to wait for readiness: one system call or family of calls.
///
/// [`Selector::new`](crate::Selector::new) takes the best that this system has,
/// [`Selector::with_backend`](crate::Selector::with_backend) the one that is named. What a program
/// sees is the same on each, but for what [`abilities`](Self::abilities) lists.
///
/// As text a backend is its name in lower case, as `Display` writes and `FromStr` reads it:
///
/// ```
/// use polyselect::Backend;
///
/// let backend: Backend = "poll".parse()?;
/// assert_eq!(backend, Backend::Poll);
/// assert_eq!(backend.to_string(), "poll");
/// let error = "pol".parse::<Backend>().unwrap_err();
/// assert!(error.to_string().contains("poll"));
/// # Ok::<(), polyselect::ParseBackendError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// `epoll`: Linux and Android. Its cost follows the active descriptors, not the registered.
    Epoll,
    /// `kqueue`: macOS, iOS and the BSDs. Its cost follows the active descriptors.
    Kqueue,
    /// `poll`: everywhere. Every wait walks all that is registered.
    Poll,
    /// `select`: everywhere. Every wait walks all numbers up to the highest
    /// that is registered, and a short `poll` of what was found fills in the detail.
    Select,
    /// `io_uring` (cargo feature `io-uring`): Linux 5.13 and later, where it is not forbidden. Changes
    /// and the wait are one system call, so that many active descriptors cost less than with epoll,
    /// and few cost more.
    IoUring,
    /// The crate mio (cargo feature `mio`): Unix. It uses what the system has best, edge-triggered;
    /// one `poll` of what it hints at after each wait makes that level-triggered.
    Mio,
}

struct Row {
    backend: Backend,
    name: &'static str,
    abilities: Abilities,
    open: fn() -> io::Result<Box<dyn Mechanism>>,
}

/// The mechanisms, best first.
const TABLE: &[Row] = &[
    Row {
        backend: Backend::Epoll,
        name: "epoll",
        abilities: Abilities {
            edge: true,
            oneshot: true,
            exclusive: true,
            priority: true,
            nesting: true,
            descriptor_ceiling: None,
        },
        open: epoll::open,
    },
    Row {
        backend: Backend::Kqueue,
        name: "kqueue",
        abilities: Abilities { edge: true, oneshot: true, nesting: true, ..Abilities::NONE },
        open: kqueue::open,
    },
    Row {
        backend: Backend::IoUring,
        name: "io_uring",
        abilities: Abilities {
            edge: true,
            oneshot: true,
            priority: true,
            nesting: true,
            ..Abilities::NONE
        },
        open: io_uring::open,
    },
    Row {
        backend: Backend::Mio,
        name: "mio",
        abilities: Abilities {
            edge: true,
            oneshot: true,
            priority: cfg!(epoll),
            nesting: cfg!(any(epoll, kqueue)),
            ..Abilities::NONE
        },
        open: mio::open,
    },
    Row {
        backend: Backend::Poll,
        name: "poll",
        abilities: Abilities { oneshot: true, priority: cfg!(unix), ..Abilities::NONE },
        open: poll::open,
    },
    Row {
        backend: Backend::Select,
        name: "select",
        abilities: Abilities {
            oneshot: true,
            priority: true,
            descriptor_ceiling: select::CEILING,
            ..Abilities::NONE
        },
        open: select::open,
    },
];

impl Backend {
    /// Every mechanism this version knows, on whatever system, best first.
    ///
    /// ```
    /// use polyselect::Backend;
    ///
    /// assert!(Backend::ALL.contains(&Backend::Poll));
    /// ```
    pub const ALL: &'static [Self] = &{
        let mut all = [Self::Epoll; TABLE.len()];
        let mut index = 0;
        while index < TABLE.len() {
            all[index] = TABLE[index].backend;
            index += 1;
        }
        all
    };

    /// The mechanisms that this system has, best first; the first is what
    /// [`Selector::new`](crate::Selector::new) takes.
    ///
    /// It finds out by opening each, so it costs some system calls.
    ///
    /// ```
    /// use polyselect::Backend;
    ///
    /// for backend in Backend::available() {
    ///     println!("{backend}");
    /// }
    /// ```
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|backend| backend.is_available())
    }

    /// Whether this system has this mechanism. It finds out by opening it.
    ///
    /// ```
    /// use polyselect::Backend;
    ///
    /// assert!(Backend::Poll.is_available());
    /// ```
    #[must_use]
    pub fn is_available(self) -> bool {
        // Short of descriptors or memory the mechanism is still there.
        !matches!((self.row().open)(), Err(error) if error.kind() == io::ErrorKind::Unsupported)
    }

    /// The name that `FromStr` reads and `POLYSELECT_BACKEND` takes.
    ///
    /// ```
    /// use polyselect::Backend;
    ///
    /// assert_eq!(Backend::Epoll.name(), "epoll");
    /// ```
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it can do.
    ///
    /// ```
    /// use polyselect::Backend;
    ///
    /// assert!(Backend::Epoll.abilities().edge);
    /// assert!(!Backend::Select.abilities().edge);
    /// ```
    #[must_use]
    pub fn abilities(self) -> Abilities {
        self.row().abilities
    }

    fn row(self) -> &'static Row {
        &TABLE[Self::ALL.iter().position(|&backend| backend == self).expect("each has a row")]
    }

    /// The one that `POLYSELECT_BACKEND` names, else the best that can be opened.
    pub(crate) fn open_preferred() -> io::Result<(Self, Box<dyn Mechanism>)> {
        if let Some(name) = env::var_os("POLYSELECT_BACKEND") {
            let backend: Self = name.to_string_lossy().parse().map_err(|error| {
                let message = format!("environment variable POLYSELECT_BACKEND: {error}");
                io::Error::new(io::ErrorKind::InvalidInput, message)
            })?;
            return Ok((backend, backend.open()?));
        }
        for &backend in Self::ALL {
            match (backend.row().open)() {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                opened => return Ok((backend, opened?)),
            }
        }
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no mechanism to wait with"))
    }

    pub(crate) fn open(self) -> io::Result<Box<dyn Mechanism>> {
        (self.row().open)().map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => {
                // A reason that the mechanism gives is more than that the system lacks it.
                let reason = error.get_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
                let message = format!(
                    "backend {self} is not available on this system ({}){reason}; available are: {}",
                    env::consts::OS,
                    list(Self::available()),
                );
                io::Error::new(io::ErrorKind::Unsupported, message)
            }
            _ => error,
        })
    }
}

fn list(backends: impl Iterator<Item = Backend>) -> String {
    backends.map(Backend::name).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Backend {
    type Err = ParseBackendError;

    fn from_str(name: &str) -> Result<Self, ParseBackendError> {
        Self::ALL
            .iter()
            .copied()
            .find(|backend| backend.name() == name)
            .ok_or_else(|| ParseBackendError { name: name.to_owned() })
    }
}

/// The error of a text that names no [`Backend`]; it lists those there are.
///
/// ```
/// use polyselect::Backend;
///
/// let error = "epool".parse::<Backend>().unwrap_err();
/// assert!(error.to_string().starts_with("unknown backend \"epool\""));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseBackendError {
    name: String,
}

impl fmt::Display for ParseBackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = list(Backend::ALL.iter().copied());
        write!(f, "unknown backend {:?}; known are: {known}", self.name)
    }
}

impl error::Error for ParseBackendError {}

impl From<ParseBackendError> for io::Error {
    fn from(error: ParseBackendError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backend_has_one_row_and_its_name_back() {
        for &backend in Backend::ALL {
            assert_eq!(backend.row().backend, backend);
            assert_eq!(backend.name().parse(), Ok(backend));
        }
    }

    #[test]
    fn an_unknown_name_lists_those_there_are() {
        let message = "Epoll".parse::<Backend>().unwrap_err().to_string();
        let known = message.strip_prefix("unknown backend \"Epoll\"; known are: ").unwrap();
        let names: Vec<_> = Backend::ALL.iter().map(|backend| backend.name()).collect();
        assert_eq!(known.split(", ").collect::<Vec<_>>(), names);
    }
}
