//! Pairs of connected streams, and listeners: local ones where the system has them.

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
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::atomic::{AtomicU32, Ordering};

    pub fn stream_pair() -> io::Result<(Stream, Stream)> {
        let listener = Listener::bind(new_address())?;
        let left = Stream::connect(listener.local_addr()?)?;
        let (right, _) = listener.accept()?;
        // The timers of Nagle's algorithm use the kernel's time.
        for stream in [&left, &right] {
            stream.set_nodelay(true)?;
        }
        Ok((left, right))
    }

    pub fn listen() -> (Listener, impl Fn() -> Stream) {
        let listener = Listener::bind(new_address()).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, move || Stream::connect(address).unwrap())
    }

    /// The ports of a single address would not last for all seeds: a connection keeps its port for
    /// a minute after its end.
    fn new_address() -> SocketAddr {
        static COUNT: AtomicU32 = AtomicU32::new(1);

        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        SocketAddr::from((Ipv4Addr::from_bits(0x7F00_0000 | (count % 0xFF_FFFE)), 0))
    }
}
