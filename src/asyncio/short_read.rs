//! Reads that return less than there was room for, and the conclusions they allow.

use std::any::TypeId;
use std::net::TcpStream;

use rustix::fd::BorrowedFd;

/// The conclusion that a short read allows about the data that is left.
///
/// With edges, a read that stops early is dangerous: if data is left and the task waits, no event
/// is reported. On Linux a `read` stops early, with more data left,
///
/// - on TCP: at the mark of an urgent byte, and before the end of the stream or an error, which are
///   events of their own. (With `TCP_ULP` set to `tls` also before a control record, which is read
///   with `recvmsg`, thus by `read_with`.) Not because of `SO_RCVLOWAT`, a signal or the
///   sender's boundaries;
/// - on Unix sockets: where descriptors were sent or the sender's credentials change, and at urgent
///   bytes;
/// - on pipes: after a packet (`O_DIRECT`), and at a spliced page that cannot be read.
///
/// Other systems have other reasons. So with edges the shortcut is for TCP on Linux alone, while
/// priority events are watched and none has been reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShortRead {
    /// Nothing, because reads are not plain system calls, because the stream has ended, or because a
    /// read outside this module may have taken an urgent byte.
    ProvesNothing,
    /// Nothing, because an urgent byte was reported. If a signal interrupts a read at its mark, Linux
    /// even returns `WouldBlock` although data follows.
    UrgentByte,
    /// That the next wait has to check with the kernel, as a level-triggered one does.
    ProvesOnLevel,
    /// Like `ProvesOnLevel`, until `getsockopt` has shown whether this is a TCP socket.
    Unknown,
    /// That a TCP socket is empty.
    ProvesOnTcp,
}

impl ShortRead {
    /// Returns the conclusion that the type allows, whose `Read` has to be one plain system call.
    pub(super) fn of_type<S: 'static>() -> Self {
        let this = TypeId::of::<S>();
        let is = |known: TypeId| this == known;
        if is(TypeId::of::<TcpStream>()) {
            return Self::Unknown;
        }
        #[cfg(unix)]
        if is(TypeId::of::<std::os::unix::net::UnixStream>())
            || is(TypeId::of::<std::io::PipeReader>())
        {
            return Self::ProvesOnLevel;
        }
        Self::ProvesNothing
    }

    /// Whether the `Read` of the type is known to be one plain system call.
    #[inline]
    pub(super) fn is_plain<S: 'static>() -> bool {
        Self::of_type::<S>() != Self::ProvesNothing
    }

    /// Calls `getsockopt`, because a `TcpStream` can be made of any descriptor.
    #[cold]
    pub(super) fn of_descriptor(descriptor: BorrowedFd<'_>) -> Self {
        if is_tcp_on_linux(descriptor) { Self::ProvesOnTcp } else { Self::ProvesOnLevel }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_tcp_on_linux(descriptor: BorrowedFd<'_>) -> bool {
    use rustix::net::{ipproto, sockopt};

    sockopt::socket_protocol(descriptor) == Ok(Some(ipproto::TCP))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_tcp_on_linux(_descriptor: BorrowedFd<'_>) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::{self, Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::asyncio::{Async, timeout};
    use crate::{Backend, Event, EventLoop, Ready};

    /// If a signal interrupts a read at the mark of an urgent byte, Linux returns `WouldBlock` although data follows.
    #[test]
    fn at_the_mark_of_an_urgent_byte_poll_has_to_confirm_that_nothing_is_there() {
        for backend in Backend::available() {
            let mut event_loop = EventLoop::with_backend(backend, ()).unwrap();
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let conn = Async::new(listener.accept().unwrap().0).unwrap();
            let moment = Duration::from_millis(10);
            event_loop.block_on(timeout(moment, conn.readable())).unwrap().unwrap_err();
            peer.write_all(b"data").unwrap();
            // The edge comes before the read, and so does an urgent byte.
            event_loop.turn(None).unwrap();
            let key = crate::key::Key::new(0, 0);
            conn.source.state.deliver(&Event { key, ready: Ready::PRIORITY });
            let mut answers = [Err(io::ErrorKind::WouldBlock), Ok(())].into_iter();
            let read = conn.read_with(|mut conn| {
                answers.next().expect("is asked twice")?;
                conn.read(&mut [0; 8])
            });
            let read = event_loop.block_on(timeout(Duration::from_secs(20), read)).unwrap();
            assert_eq!(read.expect("does not wait").unwrap(), 4, "on {backend}");
        }
    }
}
