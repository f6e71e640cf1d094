//! Kernel objects of Linux in one loop: inotify, a timerfd, a pidfd, a pseudo-terminal, a netlink socket and standard
//! input. Each is a source like any other, and none needs `unsafe`.
//!
//! ```text
//! cargo run -p polyselect-recipes --bin zoo -- /tmp
//! ```

mod failure;
use std::{io, mem::MaybeUninit, os::fd::AsFd, process::Command};

use polyselect::{EventLoop, Interest, Next};
use rustix::io::{Errno, read, write};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, netlink::SocketAddrNetlink};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::{fs::inotify, time::*};

/// Calls `work` when there is something to read.
fn watch<S: AsFd + 'static>(
    event_loop: &mut EventLoop,
    source: S,
    mut work: impl FnMut(&mut EventLoop, &S) -> io::Result<Next> + 'static,
) -> io::Result<()> {
    event_loop.register(source, Interest::READABLE, move |event_loop, source, _event| {
        work(event_loop, source)
    })?;
    Ok(())
}

/// Prints the names of files that are written in the folder.
fn inotify(event_loop: &mut EventLoop, folder: &str) -> io::Result<()> {
    let source = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&source, folder, inotify::WatchFlags::CLOSE_WRITE)?;
    watch(event_loop, source, |_loop, source| {
        let mut memory = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(source, &mut memory);
        loop {
            println!("inotify: {:?}", events.next()?.file_name().unwrap_or_default());
            // One read brings some events. Others are reported again.
            if events.is_buffer_empty() {
                return Ok(Next::Keep);
            }
        }
    })
}

/// Waits for 20 ms.
fn timerfd(event_loop: &mut EventLoop) -> io::Result<()> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let source = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    let [zero, delay] = [0, 20_000_000].map(|tv_nsec| Timespec { tv_sec: 0, tv_nsec });
    let once = Itimerspec { it_interval: zero, it_value: delay };
    timerfd_settime(&source, TimerfdTimerFlags::empty(), &once)?;
    watch(event_loop, source, |_loop, source| {
        let mut count = [0; 8];
        read(source, &mut count)?;
        println!("timerfd: {} expiration", u64::from_ne_bytes(count));
        Ok(Next::Remove)
    })
}

/// Waits for the end of a child.
fn pidfd(event_loop: &mut EventLoop) -> io::Result<()> {
    let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn()?;
    let source = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    watch(event_loop, source, move |_loop, _source| {
        // It has ended, so this does not wait.
        println!("pidfd: {}", child.wait()?);
        Ok(Next::Remove)
    })
}

/// Writes a line to a program at a terminal, and prints what that terminal shows.
fn pty(event_loop: &mut EventLoop) -> io::Result<()> {
    let source = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&source, true)?;
    unlockpt(&source)?;
    let terminal = ioctl_tiocgptpeer(&source, OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    // The command is dropped with its descriptors: the end is seen when all of the terminal's are closed.
    let script = "test -t 0 && read -r line && echo \"has read $line\"";
    let (stdin, stdout) = (terminal.try_clone()?, terminal);
    let mut child = Command::new("sh").args(["-c", script]).stdin(stdin).stdout(stdout).spawn()?;
    write(&source, b"a line\n")?;
    watch(event_loop, source, move |_loop, source| {
        let mut text = [0; 256];
        match read(source, &mut text) {
            Ok(count) => println!("pty: {:?}", String::from_utf8_lossy(&text[..count])),
            // That is how the end of a terminal reads.
            Err(Errno::IO) => {
                println!("pty: {}", child.wait()?);
                return Ok(Next::Remove);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Next::Keep)
    })
}

/// Asks the kernel for the addresses of this machine, and counts them.
fn netlink(event_loop: &mut EventLoop) -> io::Result<()> {
    let (new_address, get_address, dump) = (20_u16, 22_u16, 0x301_u16);
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let source = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    net::bind(&source, &SocketAddrNetlink::new(0, 0))?;
    // A head of 16 bytes, which begins with the length, the type and flags; then, with zeros, "of any kind".
    let mut request = 24_u32.to_ne_bytes().to_vec();
    request.extend([get_address.to_ne_bytes(), dump.to_ne_bytes()].concat());
    request.resize(24, 0);
    write(&source, &request)?;
    let mut total = 0;
    watch(event_loop, source, move |_loop, source| {
        let mut bytes = vec![0; 65536];
        let count = read(source, &mut bytes[..])?;
        let mut rest = &bytes[..count];
        while let &[a, b, c, d, kind_1, kind_2, ..] = rest {
            if u16::from_ne_bytes([kind_1, kind_2]) != new_address {
                println!("netlink: {total} addresses");
                return Ok(Next::Remove);
            }
            total += 1;
            let length = u32::from_ne_bytes([a, b, c, d]) as usize;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(Next::Keep)
    })
}

/// Ends with standard input. That stays blocking, because other programs may have it too: one read for each event
/// does not block.
fn stdin(event_loop: &mut EventLoop) -> io::Result<()> {
    watch(event_loop, io::stdin(), |event_loop, source| {
        let mut text = [0; 1024];
        match read(source, &mut text)? {
            0 => event_loop.stop(),
            count => println!("stdin: {:?}", String::from_utf8_lossy(&text[..count])),
        }
        Ok(Next::Keep)
    })
}

fn main() -> Result<(), failure::Failure> {
    let folder = std::env::args().nth(1).ok_or("usage: zoo FOLDER")?;
    let mut event_loop = EventLoop::new(())?;
    inotify(&mut event_loop, &folder)?;
    let others = [timerfd, pidfd, pty, netlink, stdin];
    others.into_iter().try_for_each(|add| add(&mut event_loop))?;
    println!("ready");
    Ok(event_loop.run()?)
}
