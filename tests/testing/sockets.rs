//! Pairs of connected streams, and listeners: local ones where the system has them.

#[cfg(windows)]
#[path = "../support/tcp.rs"]
mod tcp;

use polyselect::{Backend, Watch};

pub use system::{Stream, listen, stream_pair};

/// Whether the backend of a lab has the mode of this watch.
pub fn is_supported(watch: Watch) -> bool {
    let backend = Backend::available().next().expect("there is one");
    !watch.is_edge() || backend.capabilities().edge
}

#[cfg(unix)]
mod system {
    use std::io;
    use std::os::unix::net::UnixListener as Listener;
    pub use std::os::unix::net::UnixStream as Stream;

    pub fn stream_pair() -> io::Result<(Stream, Stream)> {
        Stream::pair()
    }

    /// Returns a listener, and a function that connects to it.
    pub fn listen() -> (Listener, impl Fn() -> Stream) {
        let folder = tempfile::tempdir().unwrap();
        let listener = Listener::bind(folder.path().join("socket")).unwrap();
        (listener, move || Stream::connect(folder.path().join("socket")).unwrap())
    }
}

#[cfg(windows)]
mod system {
    use std::io;
    use std::net::TcpListener as Listener;
    pub use std::net::TcpStream as Stream;

    use super::tcp::{new_address, tcp_pair};

    pub fn stream_pair() -> io::Result<(Stream, Stream)> {
        Ok(tcp_pair())
    }

    pub fn listen() -> (Listener, impl Fn() -> Stream) {
        let listener = Listener::bind(new_address()).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, move || Stream::connect(address).unwrap())
    }
}
