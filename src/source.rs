//! [`Source`]: a type that can be registered.

#[cfg(unix)]
use std::{io, os::fd::OwnedFd};

/// A socket, pipe, terminal or other object that can be registered with a selector.
///
/// Implemented for every type that lends its descriptor: on Unix every [`AsFd`](std::os::fd::AsFd), on
/// Windows every `AsSocket`. To make a type of your own a source, implement that trait; the bound in
/// generic code is `Source`, on every system.
///
/// `as_fd` is called once, by `register`, and must return the same descriptor for as long as the source is
/// registered. It must not close the descriptor, and shared references must not give anyone a way to close
/// it.
///
/// ```
/// use polyselect::{Interest, Key, Selector, Source};
/// use std::io;
///
/// fn watch<S: Source>(selector: &mut Selector<S>, source: S) -> io::Result<Key> {
///     Ok(selector.register(source, Interest::READABLE, ())?)
/// }
/// # let mut selector = Selector::new()?;
/// # watch(&mut selector, std::net::UdpSocket::bind(("127.0.0.1", 0))?)?;
/// # Ok::<(), io::Error>(())
/// ```
#[cfg(unix)]
pub trait Source: std::os::fd::AsFd {}

#[cfg(unix)]
impl<T: std::os::fd::AsFd + ?Sized> Source for T {}

/// A socket that can be registered with a selector: every [`AsSocket`](std::os::windows::io::AsSocket).
///
/// On Unix it is every `AsFd`.
#[cfg(windows)]
pub trait Source: std::os::windows::io::AsSocket {}

#[cfg(windows)]
impl<T: std::os::windows::io::AsSocket + ?Sized> Source for T {}

/// Makes a descriptor non-blocking and returns it as another type: a pipe of a child process as a `PipeReader`, for
/// example, which reads by shared reference, as a callback needs it.
///
/// The mode belongs to the open file, so other processes that share it see it too: a child sees it of its end of a
/// `socketpair`, but not of the other end of a pipe.
///
/// # Errors
///
/// The error of the system call `ioctl`.
///
/// ```
/// use polyselect::{EventLoop, Interest, Next};
/// use std::io::{PipeReader, Read};
/// use std::process::{Command, Stdio};
///
/// let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
/// let stdout: PipeReader = polyselect::nonblocking(child.stdout.take().unwrap())?;
///
/// let mut event_loop = EventLoop::new(String::new())?;
/// event_loop.register(stdout, Interest::READABLE, |event_loop, mut stdout, _event| {
///     let mut buffer = [0; 64];
///     let n = stdout.read(&mut buffer)?;
///     event_loop.state.push_str(&String::from_utf8_lossy(&buffer[..n]));
///     Ok(if n == 0 { Next::Remove } else { Next::Keep })
/// })?;
/// event_loop.watch_child(child, |_loop, status| assert!(status.unwrap().success()))?;
/// event_loop.run()?;
/// assert_eq!(event_loop.state, "hello\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[cfg(unix)]
pub fn nonblocking<P: From<OwnedFd>>(descriptor: impl Into<OwnedFd>) -> io::Result<P> {
    let descriptor = descriptor.into();
    rustix::io::ioctl_fionbio(&descriptor, true)?;
    Ok(P::from(descriptor))
}
