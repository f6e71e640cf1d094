//! Every kind of descriptor in every state, compared with `poll`: guaranteed flags are equal,
//! detail is a subset of the truth.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::net::{Shutdown, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use polyselect::{Backend, Interest, Ready};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::support::*;

cases! {
    every_kind_of_descriptor_reports_what_poll_reports,
}

/// A descriptor in some state, and the files that keep it in that state.
struct Subject {
    name: &'static str,
    descriptor: OwnedFd,
    _others: Vec<OwnedFd>,
}

fn subject(name: &'static str, descriptor: impl Into<OwnedFd>) -> Subject {
    Subject { name, descriptor: descriptor.into(), _others: Vec::new() }
}

impl Subject {
    fn with(mut self, other: impl Into<OwnedFd>) -> Self {
        self._others.push(other.into());
        self
    }
}

/// Linux's own results of `poll`: a BSD reports nothing for a socket without a connection, and its
/// regular files are always ready.
const ONLY_LINUX: [&str; 4] =
    ["TCP, unconnected", "TCP, bound", "unix stream, unconnected", "/proc/self/mounts"];

/// Whether a backend watches regular files as a BSD does: on the simulated macOS, `poll` does too.
fn is_of_bsd(backend: Backend) -> bool {
    let is_macos = || std::env::var("POLYSELECT_KQUEUE_PROFILE").is_ok_and(|it| it == "macos");
    backend == Backend::Kqueue || backend == Backend::Poll && cfg!(kqueue_sim) && is_macos()
}

fn every_kind_of_descriptor_reports_what_poll_reports(backend: Backend) {
    let every = [NOTHING, R, W, P, R | W, R | W | P];
    for subject in subjects() {
        if is_of_bsd(backend) && ONLY_LINUX.contains(&subject.name) {
            println!("skipped on {backend}: {}", subject.name);
            continue;
        }
        for interest in every {
            if interest.contains(P) && !backend.capabilities().priority {
                continue;
            }
            compare(backend, &subject, interest);
        }
    }
}

fn compare(backend: Backend, subject: &Subject, interest: Interest) {
    let Subject { name, descriptor, .. } = subject;
    let mut selector = open(backend);
    let key = selector.register(descriptor, interest, ()).unwrap();
    let truth = truth(descriptor.as_fd(), interest);
    let guaranteed = Ready::READABLE | Ready::WRITABLE | Ready::PRIORITY;
    for round in 0..2 {
        let events = select(&mut selector, std::time::Duration::from_millis(1));
        assert!(events.iter().all(|event| event.key == key));
        let found = events.first().map_or(Ready::empty(), |event| event.ready);
        let what = format!("{name}, {interest:?}, round {round}: {found:?}, poll says {truth:?}");
        let mut expected = truth & guaranteed;
        if backend == Backend::Select && truth.contains(Ready::WRITE_CLOSED) && interest == W {
            // It cannot see a hang-up there unless the kernel reports the descriptor as writable,
            // too.
            expected = found & guaranteed;
        }
        assert_eq!(found & guaranteed, expected, "{what}");
        assert!(truth.contains(found), "{what}");
    }
}

/// The result of `poll`, as readiness; empty for an empty interest.
fn truth(descriptor: BorrowedFd<'_>, interest: Interest) -> Ready {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN | PollFlags::RDHUP, interest.contains(R));
    flags.set(PollFlags::OUT, interest.contains(W));
    flags.set(PollFlags::PRI, interest.contains(P));
    let mut entry = [PollFd::from_borrowed_fd(descriptor, flags)];
    poll(&mut entry, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
    let found = entry[0].revents();
    if interest.is_empty() {
        return Ready::empty();
    }
    let has = |flags| found.intersects(flags);
    let end = PollFlags::HUP | PollFlags::ERR | PollFlags::RDHUP;
    let mut ready = Ready::empty();
    ready.set(Ready::READABLE, interest.contains(R) && has(PollFlags::IN | end));
    let broken = PollFlags::HUP | PollFlags::ERR;
    ready.set(Ready::WRITABLE, interest.contains(W) && has(PollFlags::OUT | broken));
    ready.set(Ready::PRIORITY, interest.contains(P) && has(PollFlags::PRI));
    ready.set(Ready::ERROR, has(PollFlags::ERR));
    ready.set(
        Ready::READ_CLOSED,
        has(PollFlags::HUP) || interest.contains(R) && has(PollFlags::RDHUP),
    );
    ready.set(Ready::WRITE_CLOSED, has(PollFlags::HUP));
    ready
}

fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    tcp(&mut subjects);
    unix_sockets(&mut subjects);
    datagrams(&mut subjects);
    pipes(&mut subjects);
    terminals(&mut subjects);
    counters(&mut subjects);
    files(&mut subjects);
    processes(&mut subjects);
    subjects
}

fn tcp(subjects: &mut Vec<Subject>) {
    let (left, right) = pair();
    subjects.push(subject("TCP, nothing to read", left).with(right));
    let (left, mut right) = pair();
    right.write_all(b"data").unwrap();
    wait_for_data(&left);
    subjects.push(subject("TCP, data", left).with(right));
    let (left, right) = pair();
    fill_up(&left);
    subjects.push(subject("TCP, full", left).with(right));
    let (left, right) = pair();
    drop(right);
    wait_for_data(&left);
    subjects.push(subject("TCP, peer closed", left));
    let (left, right) = pair();
    right.shutdown(Shutdown::Write).unwrap();
    wait_for_data(&left);
    subjects.push(subject("TCP, peer shut down writing", left).with(right));
    let (left, right) = pair();
    right.shutdown(Shutdown::Read).unwrap();
    subjects.push(subject("TCP, peer shut down reading", left).with(right));
    for (name, how) in [
        ("TCP, own reading shut down", Shutdown::Read),
        ("TCP, own writing shut down", Shutdown::Write),
        ("TCP, both shut down", Shutdown::Both),
    ] {
        let (left, right) = pair();
        left.shutdown(how).unwrap();
        subjects.push(subject(name, left).with(right));
    }
    let (left, right) = pair();
    right.shutdown(Shutdown::Write).unwrap();
    wait_for_data(&left);
    left.shutdown(Shutdown::Write).unwrap();
    wait_for_data(&right);
    subjects.push(subject("TCP, writing shut down on both sides", left).with(right));
    let (left, right) = pair();
    right.shutdown(Shutdown::Write).unwrap();
    wait_for_data(&left);
    fill_up(&left);
    subjects.push(subject("TCP, full and peer shut down writing", left).with(right));
    let (left, right) = pair();
    reset(right);
    wait_for_hang_up(left.as_fd());
    subjects.push(subject("TCP, reset", left));
    let (left, right) = pair();
    reset(right);
    wait_for_hang_up(left.as_fd());
    assert!(left.take_error().unwrap().is_some());
    subjects.push(subject("TCP, reset, error taken", left));
    let (left, right) = pair();
    socket2::SockRef::from(&right).send_out_of_band(b"!").unwrap();
    wait_for(left.as_fd(), PollFlags::PRI);
    subjects.push(subject("TCP, urgent data", left).with(right));
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    subjects.push(subject("TCP listener, idle", listener));
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    wait_for(listener.as_fd(), PollFlags::IN);
    subjects.push(subject("TCP listener, a connection waits", listener).with(client));
    let unconnected =
        || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    subjects.push(subject("TCP, unconnected", unconnected()));
    let bound = unconnected();
    bound.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    subjects.push(subject("TCP, bound", bound));
    let refused = unconnected();
    refused.set_nonblocking(true).unwrap();
    let (_closed, address) = closed_port();
    let _ = refused.connect(&address.into());
    wait_for_hang_up(refused.as_fd());
    subjects.push(subject("TCP, refused", refused));
}

fn unix_sockets(subjects: &mut Vec<Subject>) {
    let unix = || {
        let (left, right) = UnixStream::pair().unwrap();
        left.set_nonblocking(true).unwrap();
        right.set_nonblocking(true).unwrap();
        (left, right)
    };
    let (left, right) = unix();
    subjects.push(subject("unix stream", left).with(right));
    let (left, mut right) = unix();
    right.write_all(b"data").unwrap();
    subjects.push(subject("unix stream, data", left).with(right));
    let (left, right) = unix();
    fill(&left);
    subjects.push(subject("unix stream, full", left).with(right));
    let (left, _) = unix();
    subjects.push(subject("unix stream, peer closed", left));
    let (mut left, right) = unix();
    left.write_all(b"unread").unwrap();
    drop(right);
    subjects.push(subject("unix stream, peer closed with unread data", left));
    let (left, right) = unix();
    right.shutdown(Shutdown::Write).unwrap();
    subjects.push(subject("unix stream, peer shut down writing", left).with(right));
    let (left, right) = UnixDatagram::pair().unwrap();
    subjects.push(subject("unix datagram", left).with(right));
    let (left, right) = UnixDatagram::pair().unwrap();
    right.send(b"data").unwrap();
    subjects.push(subject("unix datagram, data", left).with(right));
    let path = std::env::temp_dir().join(format!("polyselect-kinds-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    subjects.push(subject("unix listener", listener));
    let unconnected = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
    subjects.push(subject("unix stream, unconnected", unconnected.unwrap()));
}

fn datagrams(subjects: &mut Vec<Subject>) {
    let udp = || UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    subjects.push(subject("UDP", udp()));
    let socket = udp();
    socket.send_to(b"data", socket.local_addr().unwrap()).unwrap();
    wait_for(socket.as_fd(), PollFlags::IN);
    subjects.push(subject("UDP, a datagram", socket));
    let socket = udp();
    let (_closed, address) = closed_udp_port();
    socket.connect(address).unwrap();
    socket.send(b"anybody?").unwrap();
    wait_for(socket.as_fd(), PollFlags::ERR);
    subjects.push(subject("UDP, port unreachable", socket));
}

fn pipes(subjects: &mut Vec<Subject>) {
    let nonblocking = || -> (PipeReader, PipeWriter) {
        let (reader, writer) = pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        (reader, writer)
    };
    let (reader, writer) = nonblocking();
    subjects.push(subject("pipe, empty", reader).with(writer));
    let (reader, mut writer) = nonblocking();
    writer.write_all(b"data").unwrap();
    subjects.push(subject("pipe, data", reader).with(writer));
    let (reader, _) = nonblocking();
    subjects.push(subject("pipe, writer gone", reader));
    let (reader, mut writer) = nonblocking();
    writer.write_all(b"data").unwrap();
    drop(writer);
    subjects.push(subject("pipe, writer gone, data left", reader));
    let (reader, writer) = nonblocking();
    subjects.push(subject("pipe's write end", writer).with(reader));
    let (reader, writer) = nonblocking();
    fill(&writer);
    subjects.push(subject("pipe's write end, full", writer).with(reader));
    let (_, writer) = nonblocking();
    subjects.push(subject("pipe's write end, reader gone", writer));
    let (reader, writer) = nonblocking();
    fill(&writer);
    drop(reader);
    subjects.push(subject("pipe's write end, full, reader gone", writer));
}

fn terminals(subjects: &mut Vec<Subject>) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    let open = || {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
        // Otherwise it would become the session's controlling terminal.
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        let terminal = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
        (controller, terminal)
    };
    let (controller, terminal) = open();
    subjects.push(subject("pty controller", controller).with(terminal));
    let (controller, terminal) = open();
    subjects.push(subject("pty terminal", terminal).with(controller));
    let (controller, terminal) = open();
    drop(terminal);
    subjects.push(subject("pty controller, terminal closed", controller));
    let (controller, terminal) = open();
    drop(controller);
    subjects.push(subject("pty terminal, controller closed", terminal));
}

fn counters(subjects: &mut Vec<Subject>) {
    let counter = |value| eventfd(value, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
    subjects.push(subject("eventfd at 0", counter(0)));
    subjects.push(subject("eventfd at 1", counter(1)));
    let full = counter(0);
    rustix::io::write(&full, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    subjects.push(subject("eventfd, full", full));
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).unwrap();
    subjects.push(subject("timerfd, unset", timer.try_clone().unwrap()));
    let soon = Timespec { tv_sec: 0, tv_nsec: 1 };
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: soon };
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).unwrap();
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once).unwrap();
    wait_for(timer.as_fd(), PollFlags::IN);
    subjects.push(subject("timerfd, expired", timer));
}

fn files(subjects: &mut Vec<Subject>) {
    for (name, path) in [
        ("regular file", "/proc/self/exe"),
        ("directory", "/"),
        ("/dev/null", "/dev/null"),
        ("/dev/zero", "/dev/zero"),
        ("/proc/self/status", "/proc/self/status"),
        ("/proc/self/mounts", "/proc/self/mounts"),
        ("/proc/sys", "/proc/sys/kernel/hostname"),
    ] {
        match File::open(path) {
            Ok(file) => subjects.push(subject(name, file)),
            Err(error) => println!("no {name} here: {error}"),
        }
    }
}

fn processes(subjects: &mut Vec<Subject>) {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    let own = rustix::process::getpid();
    subjects.push(subject("pidfd, running", pidfd_open(own, PidfdFlags::empty()).unwrap()));
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pid = Pid::from_child(&child);
    let ended = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    wait_for(ended.as_fd(), PollFlags::IN);
    child.wait().unwrap();
    subjects.push(subject("pidfd, reaped", ended));
}

fn wait_for(descriptor: BorrowedFd<'_>, flags: PollFlags) {
    let mut entry = [PollFd::from_borrowed_fd(descriptor, flags)];
    let count = poll(&mut entry, Some(&Timespec::try_from(SURELY).unwrap())).unwrap();
    assert!(count > 0, "{flags:?} does not come");
}

fn wait_for_hang_up(descriptor: BorrowedFd<'_>) {
    wait_for(descriptor, PollFlags::empty());
}
