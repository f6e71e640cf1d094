//! Sockets that are closed although they have an owner, as only unsafe code can, and others that
//! take their number.

#![allow(unsafe_code)] // Closing what has an owner.

use std::mem::ManuallyDrop;
use std::net::{TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};

pub use system::{Number, Numbered, close_number, number_of};

use super::skip;

/// A source that is never closed by its owner.
pub struct Unclosed<T>(pub ManuallyDrop<T>);

pub fn unclosed<T>(source: T) -> Unclosed<T> {
    Unclosed(ManuallyDrop::new(source))
}

impl<T> Unclosed<T> {
    pub fn into_inner(self) -> T {
        ManuallyDrop::into_inner(self.0)
    }
}

/// Closes a source despite its owner, and returns its number.
pub fn close_behind_the_back(source: &impl Numbered) -> Number {
    let number = number_of(source);
    close_number(number);
    number
}

/// Opens a connection to `listener`, one end of which has this number, which is free.
pub fn connect_with_number(number: Number, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let left =
        with_number(number, || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap().into());
    let address = listener.local_addr().unwrap();
    socket2::SockRef::from(&left).connect(&address.into()).unwrap();
    let (right, _) = listener.accept().unwrap();
    left.set_nonblocking(true).unwrap();
    right.set_nonblocking(true).unwrap();
    (left, right)
}

/// Closes a stream, and opens a new connection, one end of which has its number.
pub fn replace_behind_the_back(stream: &TcpStream) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    connect_with_number(close_behind_the_back(stream), &listener)
}

/// Opens sockets until one has this number, which is free.
pub fn with_number(number: Number, open: impl Fn() -> TcpStream) -> TcpStream {
    let mut others = Vec::new();
    while others.len() < 1000 {
        let stream = open();
        if number_of(&stream) == number {
            return stream;
        }
        others.push(stream);
    }
    skip("the system does not use the number again");
}

#[cfg(unix)]
mod system {
    use std::os::fd::{AsFd, BorrowedFd, RawFd};

    use super::Unclosed;

    pub type Number = RawFd;
    pub use std::os::fd::AsRawFd as Numbered;

    impl<T: AsFd> AsFd for Unclosed<T> {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    pub fn number_of(source: &impl Numbered) -> Number {
        source.as_raw_fd()
    }

    pub fn close_number(number: Number) {
        // SAFETY: none; the case tests the effect, and forgets the owner.
        assert_eq!(unsafe { libc::close(number) }, 0);
    }
}

#[cfg(windows)]
mod system {
    use std::os::windows::io::{AsSocket, BorrowedSocket, FromRawSocket, OwnedSocket, RawSocket};

    use super::Unclosed;

    pub type Number = RawSocket;
    pub use std::os::windows::io::AsRawSocket as Numbered;

    impl<T: AsSocket> AsSocket for Unclosed<T> {
        fn as_socket(&self) -> BorrowedSocket<'_> {
            self.0.as_socket()
        }
    }

    pub fn number_of(source: &impl Numbered) -> Number {
        source.as_raw_socket()
    }

    pub fn close_number(number: Number) {
        // SAFETY: none; the case tests the effect, and forgets the owner.
        drop(unsafe { OwnedSocket::from_raw_socket(number) });
    }
}
