//! [`Flaky`]: a source with faults.

use std::io::{self, Read, Write};
#[cfg(unix)]
use std::io::{PipeReader, PipeWriter};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;

use super::decisions::Kind;
use super::lab::Lab;
use crate::accept::Listener;
use crate::clock::nanoseconds;
use crate::descriptor::Descriptor;
use crate::source::Source;

/// How often the operations of a [`Flaky`] source fail or do less than they could: chances in 256, at each call.
///
/// ```
/// use polyselect::testing::Faults;
///
/// let only_short = Faults { short: 128, ..Faults::none() };
/// assert_ne!(only_short, Faults::mild());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A read or a write moves less than it could.
    pub short: u8,
    /// An operation fails with `WouldBlock`. Half of these last for up to [`delay`](Self::delay), in which the source is not
    /// reported as ready; the others have no further effect.
    pub would_block: u8,
    /// An operation fails with `Interrupted`.
    pub interrupted: u8,
    /// An operation fails with `ConnectionReset`, and so does each after it.
    pub reset: u8,
    /// `accept` fails because too many descriptors are open (`EMFILE`).
    pub exhausted: u8,
    /// `accept` fails with `ConnectionAborted`, as if a connection had ended in the queue.
    pub aborted: u8,
    /// How long a `WouldBlock` lasts at most, in the time of the lab.
    pub delay: Duration,
}

impl Faults {
    /// Returns no faults.
    ///
    /// See [`Faults`] for an example.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            short: 0,
            would_block: 0,
            interrupted: 0,
            reset: 0,
            exhausted: 0,
            aborted: 0,
            delay: Duration::from_millis(10),
        }
    }

    /// Returns faults that every program has to bear: reads and writes are short in 37 %, `WouldBlock` in 12 %,
    /// `Interrupted` in 6 %, and `accept` fails in 6 %. No connection is reset.
    ///
    /// See [`Faults`] for an example.
    #[must_use]
    pub const fn mild() -> Self {
        Self {
            short: 96,
            would_block: 32,
            interrupted: 16,
            exhausted: 8,
            aborted: 8,
            ..Self::none()
        }
    }
}

/// A source whose operations have the faults of a lab; [`Lab::flaky`] returns it.
///
/// It reads, writes and accepts as the source does, and can be registered in its place; sockets and pipes of the standard
/// library also read and write by `&self`, as [`Async`](crate::asyncio::Async) needs it.
/// The source has to be non-blocking.
///
/// ```
/// use polyselect::testing::{Disorder, Faults, Flaky, Lab};
/// # #[cfg(unix)] {
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// let lab = Lab::new(1, Disorder::none());
/// let (mut left, right) = UnixStream::pair()?;
/// let mut right: Flaky<UnixStream> = lab.flaky(right, Faults { short: 255, ..Faults::none() });
/// left.write_all(b"hello")?;
/// assert!(right.read(&mut [0; 5])? < 5);
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Flaky<S> {
    silence: Silence,
    source: S,
    faults: Faults,
    is_reset: AtomicBool,
}

/// Ends the silence of a source with the source, because its descriptor may be another's next.
#[derive(Debug)]
struct Silence {
    lab: Lab,
    descriptor: Descriptor,
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.lab.state().pollers.forget(self.descriptor);
    }
}

impl Lab {
    /// Returns a source with faults.
    ///
    /// See [`Flaky`] for an example.
    pub fn flaky<S: Source>(&self, source: S, faults: Faults) -> Flaky<S> {
        let silence = Silence { lab: self.clone(), descriptor: Descriptor::of(&source) };
        Flaky { silence, source, faults, is_reset: AtomicBool::new(false) }
    }
}

impl<S> Flaky<S> {
    /// Returns the source.
    ///
    /// ```
    /// # use polyselect::testing::{Disorder, Faults, Lab};
    /// # let lab = Lab::new(1, Disorder::none());
    /// let listener = lab.flaky(std::net::TcpListener::bind(("127.0.0.1", 0))?, Faults::mild());
    /// assert!(listener.get_ref().local_addr()?.port() > 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_ref(&self) -> &S {
        &self.source
    }

    /// Returns the source without the faults.
    ///
    /// ```
    /// # use polyselect::testing::{Disorder, Faults, Lab};
    /// # let lab = Lab::new(1, Disorder::none());
    /// let listener = lab.flaky(std::net::TcpListener::bind(("127.0.0.1", 0))?, Faults::mild());
    /// listener.into_inner().set_nonblocking(true)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_inner(self) -> S {
        self.source
    }
}

impl<S: Source> Flaky<S> {
    /// Fails as the lab decides.
    fn check(&self) -> io::Result<()> {
        let Self { silence: Silence { lab, descriptor }, faults, .. } = self;
        let descriptor = *descriptor;
        if self.is_reset.load(Ordering::Relaxed) || lab.decide(faults.reset, Kind::Reset).is_some()
        {
            self.is_reset.store(true, Ordering::Relaxed);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if lab.decide(faults.interrupted, Kind::Interrupted).is_some() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut state = lab.state();
        let now = state.time.now();
        if state.pollers.is_silent(descriptor, now) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let longest = nanoseconds(faults.delay).saturating_mul(2);
        let Some((_, time)) = state.decide(faults.would_block, Kind::WouldBlock, longest) else {
            return Ok(());
        };
        state.pollers.silence(descriptor, now + time.saturating_sub(longest / 2));
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Fails, or returns how much of `length` moves, as the lab decides.
    fn transfer(&self, length: usize) -> io::Result<usize> {
        self.check()?;
        Ok(self.silence.lab.shorten(self.faults.short, length))
    }
}

impl<S: Source + Read> Read for Flaky<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.transfer(buffer.len())?;
        self.source.read(&mut buffer[..length])
    }
}

impl<S: Source + Write> Write for Flaky<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.transfer(bytes.len())?;
        self.source.write(&bytes[..length])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.source.flush()
    }
}

// One by one: with a bound such as `for<'a> &'a S: Read` the compiler cannot infer the type of any source.
macro_rules! read_by_reference {
    ($($source:ty),*) => {$(
        impl Read for &Flaky<$source> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let length = self.transfer(buffer.len())?;
                (&self.source).read(&mut buffer[..length])
            }
        }
    )*};
}

macro_rules! write_by_reference {
    ($($source:ty),*) => {$(
        impl Write for &Flaky<$source> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let length = self.transfer(bytes.len())?;
                (&self.source).write(&bytes[..length])
            }

            fn flush(&mut self) -> io::Result<()> {
                (&self.source).flush()
            }
        }
    )*};
}

read_by_reference!(TcpStream);
write_by_reference!(TcpStream);
#[cfg(unix)]
read_by_reference!(UnixStream, PipeReader);
#[cfg(unix)]
write_by_reference!(UnixStream, PipeWriter);

impl<L: Listener> Listener for Flaky<L>
where
    Self: Source,
{
    type Connection = L::Connection;
    type Address = L::Address;

    fn set_nonblocking(&self) -> io::Result<()> {
        self.source.set_nonblocking()
    }

    fn accept(&self) -> io::Result<(L::Connection, L::Address)> {
        self.check()?;
        let Self { silence: Silence { lab, .. }, faults, .. } = self;
        if lab.decide(faults.exhausted, Kind::Exhausted).is_some() {
            return Err(Errno::MFILE.into());
        }
        if lab.decide(faults.aborted, Kind::Aborted).is_some() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.source.accept()
    }
}

#[cfg(unix)]
impl<S: Source> std::os::fd::AsFd for Flaky<S> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.source.as_fd()
    }
}

#[cfg(windows)]
impl<S: Source> std::os::windows::io::AsSocket for Flaky<S> {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.source.as_socket()
    }
}
