//! Errors that hand something back, and the wording of those that many places share.

use std::{error, fmt, io};

use crate::descriptor::Descriptor;
use crate::key::Key;

/// Why [`Selector::register`](crate::Selector::register) refused, with the source and the data,
/// so that neither is lost.
///
/// It converts to [`io::Error`], so `?` works where that is what a function returns; source and
/// data are dropped then.
///
/// | kind | when |
/// |---|---|
/// | `AlreadyExists` | the selector has a registration of this descriptor |
/// | `InvalidInput` | the descriptor is not open, cannot be watched, or the watch combines what the kernel refuses to combine |
/// | `Unsupported` | this mechanism has no such mode, or cannot watch a descriptor with so high a number; the message names those that can |
/// | `Other` | the selector was made before a fork and not rebuilt; or 536,870,910 registrations are alive |
/// | as the system says | it has no memory or watches left (`ENOMEM`, `ENOSPC`), or epolls would be nested in a circle or too deep (`ELOOP`) |
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
/// let error = selector.register(left, Interest::READABLE, 2).unwrap_err();
/// assert_eq!(error.error().kind(), io::ErrorKind::AlreadyExists);
/// let (left, data) = error.into_parts();
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

    /// What went wrong.
    ///
    /// See [`RegisterError`] for an example.
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// What went wrong, without the rest.
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

    /// The source and the data that were to be registered.
    ///
    /// See [`RegisterError`] for an example.
    pub fn into_parts(self) -> (S, D) {
        (self.source, self.data)
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
        "descriptor {descriptor} is already registered, under key {key}: \
         modify that registration, or unregister it first"
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
