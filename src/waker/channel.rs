//! The descriptor that carries a wake: it becomes readable when a thread wakes the selector.

#![cfg_attr(unix, allow(unsafe_code))] // `dup2` onto a descriptor that is shared.

pub(crate) use system::Channel;

/// Linux, Android: an eventfd, a counter that is one descriptor.
#[cfg(epoll)]
mod system {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

    use rustix::event::{EventfdFlags, eventfd};

    #[derive(Debug)]
    pub(crate) struct Channel(OwnedFd);

    impl Channel {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
        }

        pub(crate) fn signal(&self) -> io::Result<()> {
            super::write(&self.0, &1_u64.to_ne_bytes())
        }

        pub(crate) fn drain(&self) {
            super::read(&self.0, &mut [0; 8]);
        }

        pub(crate) fn reader(&self) -> io::Result<BorrowedFd<'_>> {
            Ok(self.0.as_fd())
        }

        pub(crate) fn renew(&self) -> io::Result<()> {
            super::replace(&self.0, &Self::new()?.0)
        }
    }
}

/// Other Unixes: a pipe.
#[cfg(all(unix, not(epoll)))]
mod system {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

    #[derive(Debug)]
    pub(crate) struct Channel {
        reader: OwnedFd,
        writer: OwnedFd,
    }

    impl Channel {
        pub(crate) fn new() -> io::Result<Self> {
            let (reader, writer) = io::pipe()?;
            let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
            rustix::io::ioctl_fionbio(&reader, true)?;
            rustix::io::ioctl_fionbio(&writer, true)?;
            Ok(Self { reader, writer })
        }

        pub(crate) fn signal(&self) -> io::Result<()> {
            super::write(&self.writer, &[1])
        }

        pub(crate) fn drain(&self) {
            super::read(&self.reader, &mut [0; 64]);
        }

        pub(crate) fn reader(&self) -> io::Result<BorrowedFd<'_>> {
            Ok(self.reader.as_fd())
        }

        pub(crate) fn renew(&self) -> io::Result<()> {
            let new = Self::new()?;
            // In this order no write finds a pipe without a reader, which would be a SIGPIPE.
            super::replace(&self.writer, &new.writer)?;
            super::replace(&self.reader, &new.reader)
        }
    }
}

/// Windows: a packet for a completion port. Backends without one can only wait for sockets, and get a TCP connection over
/// loopback; not datagrams, which may get lost.
#[cfg(windows)]
mod system {
    use std::io::{self, Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::windows::io::{AsSocket, BorrowedSocket};
    use std::sync::{Arc, OnceLock, PoisonError, RwLock};

    use crate::backend::Port;

    #[derive(Debug, Default)]
    pub(crate) struct Channel {
        port: RwLock<Option<Arc<Port>>>,
        /// Opened when they are first needed.
        sockets: OnceLock<Sockets>,
    }

    #[derive(Debug)]
    struct Sockets {
        reader: TcpStream,
        writer: TcpStream,
    }

    impl Channel {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self::default())
        }

        pub(crate) fn signal(&self) -> io::Result<()> {
            // The lock is held until the signal has been sent, so that `set_port` finds none on its way.
            let port = self.port.read().unwrap_or_else(PoisonError::into_inner);
            match &*port {
                Some(port) => port.wake(),
                None => self.sockets()?.signal(),
            }
        }

        pub(crate) fn drain(&self) {
            let port = self.port.read().unwrap_or_else(PoisonError::into_inner);
            // A port's packets have been taken by the wait.
            if let (None, Some(sockets)) = (&*port, self.sockets.get()) {
                // One signal, most of the time; what is left ends one wait too many.
                let _ = (&sockets.reader).read(&mut [0; 64]);
            }
        }

        pub(crate) fn reader(&self) -> io::Result<BorrowedSocket<'_>> {
            Ok(self.sockets()?.reader.as_socket())
        }

        /// Sends later signals to `port`, or over the sockets, which have been opened. One signal is pending afterwards,
        /// because those that were sent before are lost.
        pub(crate) fn set_port(&self, port: Option<Arc<Port>>) {
            let mut current = self.port.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(port) = &port {
                port.note_wake();
            }
            *current = port;
        }

        /// Opens the sockets, before [`set_port`](Self::set_port) makes them the carrier.
        pub(crate) fn prepare_sockets(&self) -> io::Result<()> {
            let sockets = self.sockets()?;
            let has_port = self.port.read().unwrap_or_else(PoisonError::into_inner).is_some();
            if has_port { sockets.signal() } else { Ok(()) }
        }

        fn sockets(&self) -> io::Result<&Sockets> {
            if let Some(sockets) = self.sockets.get() {
                return Ok(sockets);
            }
            let sockets = Sockets::connect()?;
            Ok(self.sockets.get_or_init(|| sockets))
        }
    }

    impl Sockets {
        fn connect() -> io::Result<Self> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let writer = TcpStream::connect(listener.local_addr()?)?;
            let own = writer.local_addr()?;
            let reader = loop {
                // Another process may have connected first.
                let (reader, peer) = listener.accept()?;
                if peer == own {
                    break reader;
                }
            };
            // The writer stays blocking. A byte can be refused though all before it have been read,
            // because they are not acknowledged yet or the send of another thread is still on its
            // way back, and the wake would be lost; both are over in a moment.
            reader.set_nonblocking(true)?;
            writer.set_nodelay(true)?;
            Ok(Self { reader, writer })
        }

        fn signal(&self) -> io::Result<()> {
            (&self.writer).write_all(&[1])
        }
    }
}

#[cfg(unix)]
use std::{io, mem::ManuallyDrop};

#[cfg(unix)]
use rustix::{
    fd::{AsRawFd, FromRawFd, OwnedFd},
    io::{Errno, FdFlags},
};

#[cfg(unix)]
fn write(descriptor: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    loop {
        match rustix::io::write(descriptor, bytes) {
            Err(Errno::INTR) => {}
            // Full means readable, which is all that is wanted.
            Ok(_) | Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(unix)]
fn read(descriptor: &OwnedFd, buffer: &mut [u8]) {
    // What a failure leaves behind ends one wait too many, and is tried again then.
    while rustix::io::read(descriptor, &mut *buffer) == Err(Errno::INTR) {}
}

/// Lets the number of `old` stand for the file of `new`.
#[cfg(unix)]
fn replace(old: &OwnedFd, new: &OwnedFd) -> io::Result<()> {
    // SAFETY: the number is open, and stays so: this second owner of it is never dropped, and
    // `dup2` replaces the file behind it without a moment in which it is closed.
    let same = unsafe { OwnedFd::from_raw_fd(old.as_raw_fd()) };
    let mut same = ManuallyDrop::new(same);
    rustix::io::dup2(new, &mut same)?;
    Ok(rustix::io::fcntl_setfd(old, FdFlags::CLOEXEC)?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::Channel;

    /// Wakes are joined: a signal is sent when the one before has been taken, be the thread that sent
    /// that still on its way back.
    #[test]
    fn every_signal_arrives() {
        const SIGNALS: u32 = 20_000;
        let channel = Channel::new().unwrap();
        let taken = AtomicU32::new(0);
        let send_those = |remainder| {
            for number in (remainder..SIGNALS).step_by(2) {
                while taken.load(Ordering::Acquire) < number {
                    thread::yield_now();
                }
                channel.signal().unwrap();
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| send_those(0));
            scope.spawn(|| send_those(1));
            let reader = channel.reader().unwrap();
            let surely = Timespec { tv_sec: 20, tv_nsec: 0 };
            for number in 1..=SIGNALS {
                let mut entries = [PollFd::new(&reader, PollFlags::IN)];
                let found = poll(&mut entries, Some(&surely));
                channel.drain();
                taken.store(if found == Ok(1) { number } else { SIGNALS }, Ordering::Release);
                assert_eq!(found, Ok(1), "signal {number} was lost");
            }
        });
    }
}
