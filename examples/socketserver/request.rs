//! A request as a handler sees it.

use std::fmt;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::net::{SendFlags, SocketAddrAny, SocketAddrUnix, sendto};
use socket2::{SockAddr, Socket};

use super::common;
use super::common::blocking::CtrlC;
use super::common::text::Decoder;

/// Python's `BaseRequestHandler`.
pub trait Handler {
    fn setup(&mut self, _request: &mut Request) {}

    /// # Errors
    ///
    /// Returns the client's error; the server goes on.
    fn handle(&mut self, request: &mut Request) -> io::Result<()>;

    fn finish(&mut self, _request: &mut Request) {}
}

/// The request: a connection, or a datagram and the socket to answer from.
pub struct Request {
    pub what: What,
    pub ctrl_c: CtrlC,
    pub decoder: Decoder,
}

/// The input of a request.
pub enum What {
    Connection(Socket, SockAddr),
    /// The bytes, until the handler has taken them.
    /// An unnamed Unix socket has no address.
    Datagram(Arc<Socket>, Option<SocketAddrAny>, Option<Vec<u8>>),
}

impl Request {
    /// Formats the client's address.
    pub fn client_address(&self) -> impl fmt::Display + use<> {
        let name = |path: Option<&Path>| {
            path.map_or("a socket without a name".into(), |path| path.display().to_string())
        };
        match &self.what {
            What::Connection(_, client) => match client.as_socket() {
                Some(address) => address.to_string(),
                None => name(client.as_pathname()),
            },
            What::Datagram(_, None, _) => name(None),
            What::Datagram(_, Some(client), _) => match SocketAddr::try_from(client.clone()) {
                Ok(address) => address.to_string(),
                Err(_) => {
                    let client = SocketAddrUnix::try_from(client.clone()).ok();
                    let path = client.as_ref().and_then(|client| client.path_bytes());
                    name(path.map(|path| Path::new(std::ffi::OsStr::from_bytes(path))))
                }
            },
        }
    }

    /// Reads whole characters from the client; nothing at the end, or when the server is to stop.
    pub fn recv(&mut self) -> io::Result<Vec<u8>> {
        match &mut self.what {
            What::Datagram(.., data) => Ok(data.take().unwrap_or_default()),
            What::Connection(conn, _) => {
                let mut buffer = [0; 1024];
                while self.ctrl_c.wait_for_data(conn)? {
                    let length = match conn.read(&mut buffer) {
                        Err(error) if common::is_not_now(&error) => continue,
                        result => result?,
                    };
                    let data = self.decoder.whole(&buffer[..length]);
                    if length == 0 || !data.is_empty() {
                        return Ok(data);
                    }
                }
                Ok(Vec::new())
            }
        }
    }

    /// Waits until everything is sent; an error if the server is to stop before that.
    pub fn send_all(&mut self, mut data: &[u8]) -> io::Result<()> {
        match &mut self.what {
            What::Connection(conn, _) => {
                while !data.is_empty() {
                    if !self.ctrl_c.wait_for_room(conn)? {
                        let message = "the server is to stop";
                        return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                    }
                    match conn.send(data) {
                        Ok(length) => data = &data[length..],
                        Err(error) if common::is_not_now(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
            What::Datagram(_, None, _) => {
                log::info!("no answer to {}", self.client_address());
                Ok(())
            }
            What::Datagram(socket, Some(client), _) => {
                sendto(&**socket, data, SendFlags::empty(), client)?;
                Ok(())
            }
        }
    }
}
