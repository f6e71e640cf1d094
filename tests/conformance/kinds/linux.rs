//! The other kinds of Linux, and the state that `poll` reports for each.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use polyselect::{Backend, Interest, Ready};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::{Subject, subject};
use crate::support::*;

pub type Owned = std::os::fd::OwnedFd;

/// Linux's own results of `poll`: a BSD reports nothing for a socket without a connection, and its
/// regular files are always ready.
const ONLY_LINUX: [&str; 4] =
    ["TCP, unconnected", "TCP, bound", "unix stream, unconnected", "/proc/self/mounts"];

/// Whether a backend watches regular files as a BSD does: on the simulated macOS, `poll` does too.
fn is_of_bsd(backend: Backend) -> bool {
    let is_macos = || std::env::var("POLYSELECT_KQUEUE_PROFILE").is_ok_and(|it| it == "macos");
    backend == Backend::Kqueue || backend == Backend::Poll && cfg!(kqueue_sim) && is_macos()
}

/// Whether the backend, or `poll`, is wrong about the subject.
pub fn is_wrong(backend: Backend, subject: &Subject) -> bool {
    is_of_bsd(backend) && ONLY_LINUX.contains(&subject.name)
}

/// The result of `poll`, as readiness.
pub fn truth(subject: &Subject, interest: Interest) -> Ready {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN | PollFlags::RDHUP, interest.contains(R));
    flags.set(PollFlags::OUT, interest.contains(W));
    flags.set(PollFlags::PRI, interest.contains(P));
    let mut entry = [PollFd::new(&subject.source, flags)];
    poll(&mut entry, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
    let found = entry[0].revents();
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

pub fn others(subjects: &mut Vec<Subject>) {
    unix_sockets(subjects);
    pipes(subjects);
    terminals(subjects);
    counters(subjects);
    files(subjects);
    processes(subjects);
}

pub fn wait_for_data(source: &impl AsFd) {
    wait_for(source, PollFlags::IN);
}

pub fn wait_for_urgent_data(source: &impl AsFd) {
    wait_for(source, PollFlags::PRI);
}

pub fn wait_for_unread_error(source: &impl AsFd) {
    wait_for(source, PollFlags::ERR);
}

pub fn wait_for_hang_up(source: &impl AsFd) {
    wait_for(source, PollFlags::empty());
}

fn wait_for(source: &impl AsFd, flags: PollFlags) {
    let mut entry = [PollFd::new(source, flags)];
    let count = poll(&mut entry, Some(&Timespec::try_from(SURELY).unwrap())).unwrap();
    assert!(count > 0, "{flags:?} does not come");
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
    wait_for_data(&timer);
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
    wait_for_data(&ended);
    child.wait().unwrap();
    subjects.push(subject("pidfd, reaped", ended));
}
