//! [`Backend`]: the system calls that wait for readiness, what each can do, and how it is opened.

use std::str::FromStr;
use std::{env, error, fmt, io};

#[cfg(afd)]
mod afd;
#[cfg(any(epoll, kqueue, mio))]
mod always_ready;
mod capabilities;
#[cfg(epoll)]
pub(crate) mod epoll;
#[cfg(event_port)]
mod event_port;
mod fd_map;
#[cfg(io_uring)]
mod io_uring;
#[cfg(kqueue)]
mod kqueue;
#[cfg(any(event_port, io_uring, mio))]
mod level_emulation;
#[cfg(mio)]
mod mio;
mod poll;
mod poll_set;
mod poller;
#[cfg(select)]
mod select;

#[cfg(afd)]
pub(crate) use afd::port::Port;
pub use capabilities::Capabilities;
pub(crate) use poll_set::check_open;
#[cfg(feature = "testing")]
pub(crate) use poll_set::ready_bits;
pub(crate) use poller::{AnyPoller, Poller, wait};

/// A system call, or family of calls, that waits for readiness.
///
/// [`Selector::new`](crate::Selector::new) opens the best backend of the system,
/// [`Selector::with_backend`](crate::Selector::with_backend) the one that is passed. They differ in what
/// [`capabilities`](Self::capabilities) lists, and in cost.
///
/// `Display` writes a backend as its name in lower case, and `FromStr` reads that:
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
    /// `epoll`: Linux and Android. The cost of a wait follows the active descriptors, not the registered.
    Epoll,
    /// `kqueue`: macOS, iOS and the BSDs. The cost follows the active descriptors.
    Kqueue,
    /// `io_uring` (cargo feature `io-uring`): Linux 5.13 and later, where it is not forbidden. Changes and the
    /// wait are one system call: with many active descriptors it is cheaper than epoll, with few it is dearer.
    IoUring,
    /// The crate mio (cargo feature `mio`): Unix. It uses the best interface of the system, edge-triggered; one
    /// `poll` of the reported sources after each wait turns that into level-triggered delivery.
    Mio,
    /// AFD, the driver of Windows' sockets, with a completion port: Windows, unless its trial fails. The cost follows the
    /// active sockets.
    Afd,
    /// `poll`: every system. Every wait walks all registrations.
    Poll,
    /// `select`: every system but illumos and Solaris. Every wait walks all numbers up to the highest
    /// registered descriptor, and a short `poll` of the ready ones adds the details.
    Select,
    /// Event ports: illumos and Solaris. The cost follows the active descriptors; it is the last one, because it was not
    /// run on these systems.
    EventPort,
}

struct Row {
    backend: Backend,
    name: &'static str,
    capabilities: Capabilities,
    open: fn() -> io::Result<AnyPoller>,
}

/// The backends in the order of `Backend`'s variants, best first.
const TABLE: &[Row] = &[
    Row {
        backend: Backend::Epoll,
        name: "epoll",
        capabilities: Capabilities {
            edge: true,
            oneshot: true,
            exclusive: true,
            priority: true,
            nesting: true,
            shared: true,
        },
        #[cfg(epoll)]
        open: epoll::open,
        #[cfg(not(epoll))]
        open: missing,
    },
    Row {
        backend: Backend::Kqueue,
        name: "kqueue",
        capabilities: Capabilities {
            edge: true,
            oneshot: true,
            priority: cfg!(any(
                target_vendor = "apple",
                target_os = "openbsd",
                target_os = "dragonfly"
            )),
            nesting: true,
            shared: true,
            ..Capabilities::NONE
        },
        #[cfg(kqueue)]
        open: kqueue::open,
        #[cfg(not(kqueue))]
        open: missing,
    },
    Row {
        backend: Backend::IoUring,
        name: "io_uring",
        capabilities: Capabilities {
            edge: true,
            oneshot: true,
            priority: true,
            ..Capabilities::NONE
        },
        #[cfg(io_uring)]
        open: io_uring::open,
        #[cfg(not(io_uring))]
        open: || not_compiled_in(cfg!(target_os = "linux"), "io-uring"),
    },
    Row {
        backend: Backend::Mio,
        name: "mio",
        capabilities: Capabilities {
            edge: true,
            oneshot: true,
            priority: cfg!(epoll),
            nesting: cfg!(any(epoll, kqueue)),
            shared: true,
            ..Capabilities::NONE
        },
        #[cfg(mio)]
        open: mio::open,
        #[cfg(not(mio))]
        open: || not_compiled_in(cfg!(unix), "mio"),
    },
    Row {
        backend: Backend::Afd,
        name: "afd",
        capabilities: Capabilities {
            oneshot: true,
            priority: true,
            shared: true,
            ..Capabilities::NONE
        },
        #[cfg(afd)]
        open: afd::open,
        #[cfg(not(afd))]
        open: missing,
    },
    Row {
        backend: Backend::Poll,
        name: "poll",
        capabilities: Capabilities {
            oneshot: true,
            priority: cfg!(unix),
            shared: true,
            ..Capabilities::NONE
        },
        open: poll::open,
    },
    Row {
        backend: Backend::Select,
        name: "select",
        capabilities: Capabilities {
            oneshot: true,
            priority: true,
            shared: true,
            ..Capabilities::NONE
        },
        #[cfg(select)]
        open: select::open,
        #[cfg(not(select))]
        open: missing,
    },
    Row {
        backend: Backend::EventPort,
        name: "event_port",
        capabilities: Capabilities {
            oneshot: true,
            priority: true,
            shared: true,
            ..Capabilities::NONE
        },
        #[cfg(event_port)]
        open: event_port::open,
        #[cfg(not(event_port))]
        open: missing,
    },
];

/// `TABLE` is indexed by the backend.
const _: () = {
    let mut index = 0;
    while index < TABLE.len() {
        assert!(TABLE[index].backend as usize == index);
        index += 1;
    }
};

/// Whether kqueue and `poll` refuse directories, terminals and other devices, as on macOS.
#[cfg(all(select, not(kqueue_sim)))]
pub(crate) const fn refuses_devices() -> bool {
    cfg!(target_vendor = "apple")
}
#[cfg(kqueue_sim)]
pub(crate) use crate::kqueue_sim::refuses_devices;

/// Opens a backend that this system does not have.
#[allow(dead_code)]
fn missing() -> io::Result<AnyPoller> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Opens a backend that was left out by a cargo feature.
#[allow(dead_code)]
fn not_compiled_in(exists_here: bool, feature: &str) -> io::Result<AnyPoller> {
    if !exists_here {
        return missing();
    }
    let message = format!("it was not compiled in: it needs the cargo feature `{feature}`");
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}

impl Backend {
    /// All backends of this version, on every system, best first.
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

    /// Returns the backends of this system, best first; [`Selector::new`](crate::Selector::new) opens the
    /// first.
    ///
    /// Opens and closes each, which costs some system calls.
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

    /// Returns whether this system has this backend. Opens and closes it.
    ///
    /// ```
    /// use polyselect::Backend;
    ///
    /// assert!(Backend::Poll.is_available());
    /// ```
    #[must_use]
    pub fn is_available(self) -> bool {
        // Without descriptors or memory the backend still exists.
        !matches!((self.row().open)(), Err(error) if error.kind() == io::ErrorKind::Unsupported)
    }

    /// Returns the name that `FromStr` and the environment variable `POLYSELECT_BACKEND` accept.
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

    /// Returns what the backend can do.
    ///
    /// ```
    /// use polyselect::Backend;
    ///
    /// assert!(Backend::Epoll.capabilities().edge);
    /// assert!(!Backend::Select.capabilities().edge);
    /// ```
    #[must_use]
    pub fn capabilities(self) -> Capabilities {
        #[cfg(kqueue_sim)]
        if self == Self::Kqueue {
            let priority = crate::kqueue_sim::has_except();
            return Capabilities { priority, ..self.row().capabilities };
        }
        self.row().capabilities
    }

    fn row(self) -> &'static Row {
        &TABLE[self.index()]
    }

    /// The index in [`ALL`](Self::ALL).
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Opens the backend that `POLYSELECT_BACKEND` names, else the best one.
    pub(crate) fn open_preferred() -> io::Result<(Self, AnyPoller)> {
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
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has none of the backends"))
    }

    pub(crate) fn open(self) -> io::Result<AnyPoller> {
        (self.row().open)().map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => {
                // The backend may have a reason other than that the system lacks it.
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

/// The error for a name that is not a [`Backend`]'s; its message lists the names.
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
    fn the_name_of_every_backend_parses_to_it() {
        for &backend in Backend::ALL {
            assert_eq!(backend.name().parse(), Ok(backend));
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_names() {
        let message = "Epoll".parse::<Backend>().unwrap_err().to_string();
        let known = message.strip_prefix("unknown backend \"Epoll\"; known are: ").unwrap();
        let names: Vec<_> = Backend::ALL.iter().map(|backend| backend.name()).collect();
        assert_eq!(known.split(", ").collect::<Vec<_>>(), names);
    }
}
