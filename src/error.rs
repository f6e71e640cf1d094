//! Errors that return their arguments, and messages that several places share.

use std::{error, fmt, io};

use crate::descriptor::Descriptor;
use crate::key::Key;

/// The error of [`Selector::register`](crate::Selector::register), with the source and the data, so that
/// neither is lost.
///
/// It converts to [`io::Error`], so `?` works in a function that returns one; source and data are dropped
/// then.
///
/// | kind | condition |
/// |---|---|
/// | `AlreadyExists` | the descriptor is already registered with this selector |
/// | `InvalidInput` | the descriptor is not open, cannot be watched, or the kernel refuses the combination of modes |
/// | `Unsupported` | the backend lacks the mode; the message names the backends that have it |
/// | `Other` | a [`ForkedError`]; or 536,870,910 registrations are alive |
/// | the system's | no memory or watches are left (`ENOMEM`, `ENOSPC`), or epolls would be nested in a circle or too deeply (`ELOOP`) |
///
/// ```
/// # #[cfg(unix)] {
/// use polyselect::{Interest, Selector};
/// use std::{io, os::unix::net::UnixStream, rc::Rc};
///
/// let (left, _right) = UnixStream::pair()?;
/// let left = Rc::new(left);
/// let mut selector = Selector::new()?;
/// selector.register(Rc::clone(&left), Interest::READABLE, 1)?;
/// let refused = selector.register(left, Interest::READABLE, 2).unwrap_err();
/// let (error, left, data) = refused.into_parts();
/// assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
/// # drop(left); assert_eq!(data, 2); }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct RegisterError<S, D = ()> {
    error: io::Error,
    source: S,
    data: D,
}

impl<S, D> RegisterError<S, D> {
    pub(crate) fn new(error: io::Error, source: S, data: D) -> Self {
        Self { error, source, data }
    }

    /// Returns the error.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # use std::{io, os::unix::net::UnixStream};
    /// # let (left, _right) = UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// # selector.register(&left, Interest::READABLE, ())?;
    /// let refused = selector.register(&left, Interest::READABLE, ()).unwrap_err();
    /// assert_eq!(refused.error().kind(), io::ErrorKind::AlreadyExists);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// Returns the error, and drops the source and the data.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # use std::{io, os::unix::net::UnixStream};
    /// # let (left, _right) = UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// # selector.register(&left, Interest::READABLE, ())?;
    /// let error = selector.register(&left, Interest::READABLE, ()).unwrap_err();
    /// let error: io::Error = error.into_error();
    /// # assert_eq!(error.kind(), io::ErrorKind::AlreadyExists); }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_error(self) -> io::Error {
        self.error
    }

    /// Returns the error, the source and the data.
    ///
    /// See [`RegisterError`] for an example.
    pub fn into_parts(self) -> (io::Error, S, D) {
        (self.error, self.source, self.data)
    }
}

impl<S, D> fmt::Debug for RegisterError<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<S, D> fmt::Display for RegisterError<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<S, D> error::Error for RegisterError<S, D> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.error.source()
    }
}

impl<S, D> From<RegisterError<S, D>> for io::Error {
    fn from(error: RegisterError<S, D>) -> Self {
        error.error
    }
}

/// The payload of the error of a selector or event loop that was made before a `fork`, in the child.
///
/// Parent and child share the kernel object, so the child must not use it. The [`io::Error`] has the kind
/// `Other`; [`rebuild`](crate::Selector::rebuild) gives the child an object of its own, and dropping is
/// always allowed.
///
/// ```
/// use polyselect::{ForkedError, Selector};
/// use std::io;
///
/// fn wait<S>(selector: &mut Selector<S>, events: &mut polyselect::Events) -> io::Result<usize> {
///     match selector.select(events, None) {
///         Err(error) if error.get_ref().is_some_and(|payload| payload.is::<ForkedError>()) => {
///             selector.rebuild()?;
///             selector.select(events, None)
///         }
///         result => result,
///     }
/// }
/// # let _ = wait::<std::net::TcpStream>;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForkedError;

impl fmt::Display for ForkedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this selector was made before a fork, and its kernel object belongs to the parent: \
             call rebuild() in the child, or drop it; instead of a SharedSelector, open another one",
        )
    }
}

impl error::Error for ForkedError {}

impl From<ForkedError> for io::Error {
    #[cold]
    fn from(error: ForkedError) -> Self {
        Self::other(error)
    }
}

#[cold]
pub(crate) fn stale_key(key: Key) -> io::Error {
    let message = format!(
        "key {key} names no registration of this selector: \
         it was unregistered, or belongs to another selector"
    );
    io::Error::new(io::ErrorKind::NotFound, message)
}

#[cold]
pub(crate) fn already_registered(descriptor: Descriptor, key: Key) -> io::Error {
    let message = format!(
        "descriptor {descriptor} is already registered as key {key}: \
         call modify to change its interest, or unregister it first"
    );
    io::Error::new(io::ErrorKind::AlreadyExists, message)
}

#[cold]
pub(crate) fn not_open(descriptor: Descriptor) -> io::Error {
    let message = format!(
        "descriptor {descriptor} is not open, or was opened only as a path: \
         register a source that is open for reading or writing"
    );
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
