//! The rows.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write, pipe};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::closed_port::{closed_port, closed_udp_port};
use super::kqueue_sim::*;
use super::{Queue, System, change};

pub const R: i16 = EVFILT_READ;
pub const W: i16 = EVFILT_WRITE;
pub const ADD: u16 = EV_ADD;
const EDGE: u16 = EV_ADD | EV_CLEAR;

/// A claim, and its test.
pub type Row = (&'static str, fn(System));

pub const ROWS: &[Row] = &[
    ("EV_ADD with EV_CLEAR reports once, and again when it is added again", |system| {
        let (queue, (reader, _writer)) = (Queue::new(system), readable());
        queue.set(&[change(&reader, R, EDGE)]);
        assert_eq!((queue.filters(), queue.filters()), (vec![R], vec![]));
        queue.set(&[change(&reader, R, EDGE)]);
        assert_eq!((queue.filters(), queue.filters()), (vec![R], vec![]));
    }),
    ("EV_DELETE and EV_ADD in one list report an edge again", |system| {
        let (queue, (reader, _writer)) = (Queue::new(system), readable());
        queue.set(&[change(&reader, R, EDGE)]);
        assert_eq!(queue.filters(), [R]);
        queue.set(&[change(&reader, R, EV_DELETE), change(&reader, R, EDGE)]);
        assert_eq!((queue.filters(), queue.filters()), (vec![R], vec![]));
    }),
    ("EV_ADD without EV_CLEAR does not take it away", |system| {
        let (queue, (reader, _writer)) = (Queue::new(system), readable());
        queue.set(&[change(&reader, R, EDGE)]);
        queue.set(&[change(&reader, R, ADD)]);
        assert_eq!((queue.filters(), queue.filters()), (vec![R], vec![]));
    }),
    ("an edge is reported again when more comes, read or not", |system| {
        let (queue, (reader, mut writer)) = (Queue::new(system), readable());
        queue.set(&[change(&reader, R, EDGE)]);
        assert_eq!((queue.filters(), queue.filters()), (vec![R], vec![]));
        writer.write_all(b"!").unwrap();
        assert_eq!((queue.filters(), queue.filters()), (vec![R], vec![]));
    }),
    ("a level is reported while it lasts", |system| {
        let (queue, (mut reader, _writer)) = (Queue::new(system), readable());
        queue.set(&[change(&reader, R, ADD)]);
        assert_eq!((queue.filters(), queue.filters()), (vec![R], vec![R]));
        reader.read_exact(&mut [0]).unwrap();
        assert_eq!(queue.filters(), []);
    }),
    ("EV_ONESHOT is gone after one event", |system| {
        let (queue, (reader, _writer)) = (Queue::new(system), readable());
        queue.set(&[change(&reader, R, EV_ADD | EV_ONESHOT)]);
        assert_eq!((queue.filters(), queue.filters()), (vec![R], vec![]));
        assert_eq!(queue.error(change(&reader, R, EV_DELETE)), libc::ENOENT);
    }),
    ("EV_DISPATCH is disabled after one event, and EV_ADD enables it", |system| {
        let (queue, (reader, _writer)) = (Queue::new(system), readable());
        queue.set(&[change(&reader, R, EV_ADD | EV_DISPATCH)]);
        assert_eq!((queue.filters(), queue.filters()), (vec![R], vec![]));
        queue.set(&[change(&reader, R, EV_ENABLE)]);
        if profile().enable_reports {
            assert_eq!(queue.filters(), [R]);
        }
        queue.set(&[change(&reader, R, EV_ADD | EV_DISPATCH)]);
        assert_eq!(queue.filters(), [R]);
    }),
    ("EV_DISABLE silences and EV_ENABLE re-enables", |system| {
        let (queue, (reader, mut writer)) = (Queue::new(system), readable());
        queue.set(&[change(&reader, R, ADD), change(&reader, R, EV_DISABLE)]);
        assert_eq!(queue.filters(), []);
        queue.set(&[change(&reader, R, EV_ENABLE)]);
        writer.write_all(b"!").unwrap();
        assert_eq!(queue.filters(), [R]);
    }),
    ("EV_DELETE of an unknown filter is ENOENT, of a closed descriptor EBADF", |system| {
        let (queue, (reader, _writer)) = (Queue::new(system), readable());
        let deletion = change(&reader, R, EV_DELETE);
        assert_eq!(queue.error(deletion), libc::ENOENT);
        drop(reader);
        assert_eq!(queue.error(deletion), libc::EBADF);
        assert_eq!(queue.error(kevent { flags: ADD, ..deletion }), libc::EBADF);
    }),
    ("closing removes the filters", |system| {
        let (queue, (reader, _writer)) = (Queue::new(system), readable());
        let duplicate = reader.try_clone().unwrap();
        queue.set(&[change(&reader, R, ADD)]);
        drop(reader);
        assert_eq!(queue.filters(), []);
        drop(duplicate);
    }),
    ("a number that comes back does not revive the filters", |system| {
        let (queue, (reader, _writer)) = (Queue::new(system), readable());
        let (duplicate, number) = (reader.try_clone().unwrap(), reader.as_raw_fd());
        queue.set(&[change(&reader, R, ADD)]);
        drop(reader);
        let again = rustix::io::fcntl_dupfd_cloexec(&duplicate, number).unwrap();
        assert_eq!((again.as_raw_fd(), queue.filters()), (number, vec![]));
        assert_eq!(queue.error(change(&again, R, EV_DELETE)), libc::ENOENT);
    }),
    ("a bad change without room ends the list, with room it does not", |system| {
        let (queue, (reader, _writer)) = (Queue::new(system), readable());
        let list = [change(&reader, W, EV_DELETE), change(&reader, R, ADD)];
        assert_eq!(queue.call(&list, 0).unwrap_err(), libc::ENOENT);
        assert_eq!(queue.filters(), []);
        let answers = queue.call(&list, 8).unwrap();
        assert_eq!((answers.len(), answers[0].flags, answers[0].data), (1, EV_ERROR, 2));
        assert_eq!(queue.filters(), [R]);
    }),
    ("EV_RECEIPT answers each change, with its udata", |system| {
        let (queue, (reader, _writer)) = (Queue::new(system), readable());
        let receipt = |filter, flags| change(&reader, filter, flags | EV_RECEIPT);
        let answers = queue.call(&[receipt(R, ADD), receipt(W, EV_DELETE)], 8).unwrap();
        let answers: Vec<_> =
            answers.iter().map(|it| (it.filter, it.flags, it.data, it.udata.addr())).collect();
        assert_eq!(answers, [(R, EV_ERROR, 0, 7), (W, EV_ERROR, libc::ENOENT.into(), 7)]);
    }),
    ("EV_RECEIPT without room ends the list", |system| {
        let (queue, (reader, _writer)) = (Queue::new(system), readable());
        let (other, _other_writer) = readable();
        let flags = ADD | EV_RECEIPT;
        let list = [change(&reader, R, flags), change(&other, R, flags)];
        assert_eq!(queue.call(&list, 0).unwrap().len(), 0);
        assert_eq!(queue.events().len(), 1);
    }),
    ("only receipts are returned while events are pending", |system| {
        let (queue, (reader, _writer)) = (Queue::new(system), readable());
        queue.set(&[change(&reader, R, ADD)]);
        let answers = queue.call(&[change(&reader, R, ADD | EV_RECEIPT)], 8).unwrap();
        assert_eq!((answers.len(), answers[0].flags), (1, EV_ERROR));
    }),
    ("an end leaves unread bytes in data", |system| {
        let (queue, (left, mut right)) = (Queue::new(system), tcp());
        right.write_all(b"four").unwrap();
        drop(right);
        settle(&left);
        queue.set(&[change(&left, R, ADD)]);
        let event = queue.events()[0];
        assert_eq!((event.flags & EV_EOF, event.data), (EV_EOF, 4));
    }),
    ("own SHUT_WR ends the filter for writing, own SHUT_RD the one for reading", |system| {
        for (how, ended) in [(Shutdown::Write, W), (Shutdown::Read, R)] {
            let (queue, (left, _right)) = (Queue::new(system), tcp());
            left.shutdown(how).unwrap();
            queue.set(&[change(&left, R, ADD), change(&left, W, ADD)]);
            let events = queue.events();
            let ends: Vec<_> = events.iter().filter(|it| it.flags & EV_EOF != 0).collect();
            assert_eq!((ends.len(), ends[0].filter), (1, ended));
        }
    }),
    ("after a reset fflags has the error until SO_ERROR is read, and the end stays", |system| {
        let (queue, (left, right)) = (Queue::new(system), tcp());
        queue.set(&[change(&left, R, ADD), change(&left, W, ADD)]);
        socket2::Socket::from(right).set_linger(Some(Duration::ZERO)).unwrap();
        settle(&left);
        for error in [libc::ECONNRESET as u32, 0] {
            let events = queue.events();
            assert_eq!(events.len(), 2);
            assert!(events.iter().all(|it| it.flags & EV_EOF != 0 && it.fflags == error));
            left.take_error().unwrap();
        }
    }),
    ("a refused connection ends both directions with ECONNREFUSED", |system| {
        let queue = Queue::new(system);
        let (_closed, address) = closed_port();
        let socket = unconnected();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address.into());
        settle(&socket);
        queue.set(&[change(&socket, R, ADD), change(&socket, W, ADD)]);
        let events = queue.events();
        assert_eq!(events.len(), 2);
        let error = libc::ECONNREFUSED as u32;
        assert!(events.iter().all(|it| it.flags & EV_EOF != 0 && it.fflags == error));
    }),
    ("a socket without a connection is silent", |system| {
        let (queue, socket) = (Queue::new(system), unconnected());
        queue.set(&[change(&socket, R, ADD), change(&socket, W, ADD)]);
        assert_eq!(queue.filters(), []);
    }),
    ("an error of UDP is reported without an end", |system| {
        let queue = Queue::new(system);
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let (_closed, address) = closed_udp_port();
        socket.connect(address).unwrap();
        socket.send(b"?").unwrap();
        settle(&socket);
        queue.set(&[change(&socket, R, ADD), change(&socket, W, ADD)]);
        let events = queue.events();
        assert_eq!(events.len(), 2);
        assert!(events.iter().all(|it| it.flags & EV_EOF == 0 && it.fflags == 0));
    }),
    ("a listener reports its connections in data", |system| {
        let (queue, listener) = (Queue::new(system), TcpListener::bind("127.0.0.1:0").unwrap());
        queue.set(&[change(&listener, R, ADD)]);
        assert_eq!(queue.filters(), []);
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(queue.wait(&[], 8, None).unwrap()[0].data > 0);
    }),
    ("a filter added before listen", |system| {
        let (queue, socket) = (Queue::new(system), unconnected());
        queue.set(&[change(&socket, R, ADD)]);
        socket.listen(8).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        settle(&socket);
        assert_eq!(queue.filters().len(), usize::from(profile().sees_listen));
    }),
    ("a pipe whose reader is gone takes no filter for writing", |system| {
        let queue = Queue::new(system);
        let (_, writer) = pipe().unwrap();
        let error = queue.error(change(&writer, W, ADD | EV_RECEIPT));
        assert_eq!(error, profile().broken_pipe.unwrap_or(0));
        queue.set(&[change(&writer, R, ADD)]);
        let reported = queue.events();
        let read = reported.iter().find(|event| event.filter == R).unwrap();
        assert_eq!(read.flags & EV_EOF, EV_EOF);
    }),
    ("a full pipe whose reader goes", |system| {
        let queue = Queue::new(system);
        let (reader, mut writer) = pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while writer.write(&[0; 65_536]).is_ok() {}
        queue.set(&[change(&writer, W, ADD)]);
        assert_eq!(queue.filters(), []);
        drop(reader);
        assert_eq!(queue.filters().is_empty(), profile().full_pipe_is_deaf);
    }),
    ("a pipe with room reports that its reader goes", |system| {
        let queue = Queue::new(system);
        let (reader, writer) = pipe().unwrap();
        queue.set(&[change(&writer, W, ADD)]);
        assert_eq!(queue.events()[0].flags & EV_EOF, 0);
        drop(reader);
        assert_eq!(queue.events()[0].flags & EV_EOF, EV_EOF);
    }),
    ("ready filters rotate", |system| {
        let queue = Queue::new(system);
        let pipes: Vec<_> = (0..3).map(|_| readable()).collect();
        for (reader, _) in &pipes {
            queue.set(&[change(reader, R, ADD)]);
        }
        let mut seen: Vec<_> = (0..3).map(|_| queue.call(&[], 1).unwrap()[0].ident).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 3);
    }),
    ("a queue in a queue", |system| {
        let (inner, outer) = (Queue::new(system), Queue::new(system));
        let (mut reader, mut writer) = readable();
        inner.set(&[change(&reader, R, ADD)]);
        outer.set(&[change(&inner.number, R, ADD)]);
        assert_eq!((outer.filters(), outer.filters()), (vec![R], vec![R]));
        reader.read_exact(&mut [0]).unwrap();
        // Its filter is queued but not true any more; only a call on it removes it.
        assert_eq!(outer.filters(), [R]);
        assert_eq!((inner.filters(), outer.filters()), (vec![], vec![]));
        writer.write_all(b"!").unwrap();
        assert_eq!(outer.filters(), [R]);
        assert_eq!(outer.error(change(&inner.number, W, ADD)), libc::EINVAL);
    }),
    ("queues inside each other, as many as the system takes", |system| {
        let (mut chain, (reader, _writer)) = (vec![Queue::new(system)], readable());
        let limit = profile().nested.unwrap_or(12);
        for _ in 1..limit {
            let outer = Queue::new(system);
            outer.set(&[change(&chain.last().unwrap().number, R, ADD)]);
            chain.push(outer);
        }
        let one_more = Queue::new(system);
        let error = one_more.error(change(&chain.last().unwrap().number, R, ADD));
        assert_eq!(error, if profile().nested.is_some() { libc::EINVAL } else { 0 });
        assert_eq!(chain.last().unwrap().filters(), []);
        chain[0].set(&[change(&reader, R, ADD)]);
        assert_eq!(chain.last().unwrap().wait(&[], 8, None).unwrap()[0].filter, R);
    }),
    ("a regular file is silent at its end", |system| {
        let queue = Queue::new(system);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"text").unwrap();
        queue.set(&[change(&file, R, ADD)]);
        assert_eq!(queue.filters(), []);
        file.seek(SeekFrom::Start(1)).unwrap();
        assert_eq!(queue.events()[0].data, 3);
    }),
    ("/dev/null", |system| {
        let (queue, null) = (Queue::new(system), File::open("/dev/null").unwrap());
        let (read, write) = (change(&null, R, ADD), change(&null, W, ADD));
        if profile().refuses_devices {
            assert_eq!((queue.error(read), queue.error(write)), (libc::EINVAL, libc::EINVAL));
        } else {
            queue.set(&[read, write]);
            assert_eq!(queue.filters(), [W, R]);
        }
    }),
    ("timeouts", |system| {
        let (queue, start) = (Queue::new(system), Instant::now());
        assert!(queue.wait(&[], 8, Some(2_000_000)).unwrap().is_empty());
        assert!(start.elapsed() >= Duration::from_millis(2).max(profile().tick));
        assert_eq!(queue.wait(&[], 8, Some(-1)).unwrap_err(), libc::EINVAL);
    }),
    ("without room a call returns at once, also without a timeout", |system| {
        let (queue, (reader, _writer)) = (Queue::new(system), readable());
        queue.set(&[change(&reader, R, ADD)]);
        assert!(queue.wait(&[], 0, None).unwrap().is_empty());
    }),
    ("what comes during a wait ends it", |system| {
        let queue = Queue::new(system);
        let (left, mut right) = UnixStream::pair().unwrap();
        queue.set(&[change(&left, R, ADD)]);
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            right.write_all(b"!").unwrap();
            right
        });
        assert_eq!(queue.wait(&[], 8, None).unwrap()[0].filter, R);
        thread.join().unwrap();
    }),
    ("NOTE_LOWAT is a number of bytes", |system| {
        let (queue, (left, mut right)) = (Queue::new(system), UnixStream::pair().unwrap());
        queue.set(&[kevent { fflags: NOTE_LOWAT, data: 3, ..change(&left, R, ADD) }]);
        right.write_all(b"..").unwrap();
        assert_eq!(queue.filters(), []);
        right.write_all(b".").unwrap();
        assert_eq!(queue.filters(), [R]);
    }),
    ("priority data", |system| {
        let (queue, (left, right)) = (Queue::new(system), tcp());
        let except = kevent { fflags: NOTE_OOB, ..change(&left, EVFILT_EXCEPT, ADD) };
        if !profile().has_except {
            assert_eq!(queue.error(except), libc::EINVAL);
            return;
        }
        queue.set(&[except]);
        assert_eq!(queue.filters(), []);
        socket2::SockRef::from(&right).send_out_of_band(b"!").unwrap();
        assert_eq!(queue.wait(&[], 8, None).unwrap()[0].fflags & NOTE_OOB, NOTE_OOB);
    }),
    ("EVFILT_USER is triggered by the program", |system| {
        let queue = Queue::new(system);
        let user = kevent { ident: 1, ..change(&queue.number, EVFILT_USER, EDGE) };
        if !profile().has_user {
            assert_eq!(queue.error(user), libc::EINVAL);
            return;
        }
        queue.set(&[user]);
        assert_eq!(queue.filters(), []);
        queue.set(&[kevent { flags: 0, fflags: NOTE_TRIGGER, ..user }]);
        assert_eq!((queue.filters(), queue.filters()), (vec![EVFILT_USER], vec![]));
    }),
];

pub fn readable() -> (File, File) {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"!").unwrap();
    (OwnedFd::from(reader).into(), OwnedFd::from(writer).into())
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let left = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (left, listener.accept().unwrap().0)
}

fn unconnected() -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket
}

/// Waits until the effect of the peer's action has arrived.
fn settle(socket: &impl AsRawFd) {
    let events = libc::POLLIN | libc::POLLRDHUP;
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
    // SAFETY: one entry, which lives through the call.
    assert_eq!(unsafe { libc::poll(&raw mut entry, 1, 20_000) }, 1);
}
