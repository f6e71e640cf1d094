//! TCP on this host, at addresses that last for many tests.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

/// An address of this host that nothing else listens on. The ports of a single one would not last: a connection
/// keeps its port for a minute after its end.
pub fn new_address() -> SocketAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);

    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let host = (std::process::id() << 16).wrapping_add(count) % 0xFF_FFFE + 1;
    SocketAddr::from((Ipv4Addr::from_bits(0x7F00_0000 | host), 0))
}

pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(new_address()).expect("listens");
    let left = TcpStream::connect(listener.local_addr().expect("an address"));
    let (left, right) = (left.expect("connects"), listener.accept().expect("a connection").0);
    // The timers of Nagle's algorithm use the kernel's time.
    for stream in [&left, &right] {
        stream.set_nodelay(true).expect("is TCP");
    }
    (left, right)
}
