//! Connections that succeed, are refused, and stay pending.

use std::io::ErrorKind;
#[cfg(target_os = "linux")]
use std::net::{SocketAddr, TcpStream};
#[cfg(target_os = "linux")]
use std::time::Duration;

use polyselect::Backend;
use polyselect::asyncio::{self, Async};

use crate::event_loop::open;
use crate::support::*;

cases! {
    a_connection_that_is_refused_is_an_error,
    #[cfg(target_os = "linux")]
    a_spurious_edge_does_not_end_a_connect,
    #[cfg(target_os = "linux")]
    a_connect_under_way_ends_when_there_is_room,
}

#[cfg(target_os = "linux")]
use under_way::{
    a_connect_under_way_ends_when_there_is_room, a_spurious_edge_does_not_end_a_connect,
};

fn a_connection_that_is_refused_is_an_error(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (_closed, address) = closed_port();
    let refused = event_loop.block_on(asyncio::timeout(SURELY, Async::connect(address))).unwrap();
    assert_eq!(refused.unwrap().unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[cfg(target_os = "linux")]
mod under_way {
    use std::os::fd::AsRawFd;

    use polyselect::EventLoop;
    use polyselect::asyncio::JoinHandle;
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    use socket2::{Domain, Socket, Type};

    use super::*;

    /// A listener with a full queue, and the connections that fill it.
    struct Full {
        listener: Socket,
        address: SocketAddr,
        _clients: Vec<Socket>,
    }

    fn full_listener() -> Full {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let client = |_| {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            drop(client.connect(&address.into()));
            client
        };
        Full { listener, address, _clients: (0..4).map(client).collect() }
    }

    /// Starts to connect. Returns also a duplicate of the socket, whose descriptor is the lowest
    /// that was free.
    fn begin(
        event_loop: &mut EventLoop,
        address: SocketAddr,
    ) -> (JoinHandle<std::io::Result<Async<TcpStream>>>, Socket) {
        event_loop.block_on(asyncio::yield_now()).unwrap();
        let pidfd = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        let number = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
        let connecting = event_loop.spawn(Async::connect(address));
        for _ in 0..3 {
            event_loop.turn(Duration::ZERO).unwrap();
        }
        assert!(!connecting.is_finished(), "it is under way");
        let socket = pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty()).unwrap();
        (connecting, socket.into())
    }

    pub(super) fn a_spurious_edge_does_not_end_a_connect(backend: Backend) {
        let mut event_loop = open(backend, ());
        let full = full_listener();
        let (connecting, socket) = begin(&mut event_loop, full.address);
        // Setting the buffer's size wakes everything that waits for room. io_uring can report that
        // as an edge, although the socket is not connected; the other backends query the state
        // again.
        for size in [100_000, 200_000] {
            socket.set_send_buffer_size(size).unwrap();
            event_loop.turn(A_WHILE).unwrap();
        }
        assert!(!connecting.is_finished(), "{:?}", event_loop.block_on(connecting).unwrap());
        drop((connecting, socket, full));
        event_loop.turn(Duration::ZERO).unwrap();
    }

    pub(super) fn a_connect_under_way_ends_when_there_is_room(backend: Backend) {
        let mut event_loop = open(backend, ());
        let full = full_listener();
        let (connecting, socket) = begin(&mut event_loop, full.address);
        let accepting = std::thread::spawn(move || {
            loop {
                let (_conn, from) = full.listener.accept().unwrap();
                if from.as_socket() == socket.local_addr().unwrap().as_socket() {
                    return;
                }
            }
        });
        let conn = event_loop.block_on(asyncio::timeout(SURELY, connecting)).unwrap();
        let conn = conn.expect("the kernel tries again after a second").unwrap().unwrap();
        assert_eq!(conn.get_ref().peer_addr().unwrap(), full.address);
        accepting.join().unwrap();
    }
}
