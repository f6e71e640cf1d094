//! [`Source`]: a type that can be registered.

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
