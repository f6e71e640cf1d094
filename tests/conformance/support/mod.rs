//! Shared parts of the cases.

#![allow(dead_code)] // Not every system has every case.

pub mod closed;
#[path = "../../support/closed_port.rs"]
mod closed_port;
pub mod disorder;
pub mod harness;
#[cfg(target_os = "linux")]
pub mod network;
#[cfg(unix)]
pub mod process;
#[cfg(feature = "async")]
pub mod program;
mod records;
#[macro_use]
pub mod suite;
mod virtual_time;

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use polyselect::{Backend, Event, Events, Interest, Key, Ready, Selector};

pub use closed_port::closed_port;
#[allow(unused_imports)] // Not every system has the cases.
pub use closed_port::closed_udp_port;
pub use records::{keep_records, take_records};
pub use virtual_time::{now, pass};

pub const R: Interest = Interest::READABLE;
pub const W: Interest = Interest::WRITABLE;
pub const P: Interest = Interest::PRIORITY;
pub const NOTHING: Interest = Interest::empty();

/// The time limit for events that must happen. Only a failing case waits this long.
pub const SURELY: Duration = Duration::from_secs(20);

/// How long to watch for events that must not happen.
pub const A_WHILE: Duration = Duration::from_millis(20);

pub fn open<S, D>(backend: Backend) -> Selector<S, D> {
    Selector::with_backend(backend).expect("opens")
}

/// A loopback address for this case alone, so that no other process can take a port that is free
/// for a moment. Each case has a process of its own; systems other than Linux have only one such
/// address.
pub fn own_loopback() -> IpAddr {
    if cfg!(target_os = "linux") {
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        // Neither 127.0.0.1 nor a broadcast address.
        IpAddr::from([127, 64 | high & 63, middle, low.clamp(1, 254)])
    } else {
        IpAddr::from([127, 0, 0, 1])
    }
}

/// Skips the case, because the system lacks a requirement.
pub fn skip(reason: &str) -> ! {
    eprintln!("{reason}");
    std::process::exit(harness::SKIPPED)
}

/// Two ends of a TCP connection over loopback, non-blocking.
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    let (server, _) = listener.accept().expect("accepts");
    for stream in [&client, &server] {
        stream.set_nonblocking(true).expect("is a socket");
        // Miri lacks this socket option, and the timeout below.
        if !cfg!(miri) {
            stream.set_nodelay(true).expect("is TCP");
        }
    }
    (client, server)
}

/// Returns the events that are ready now, without waiting.
pub fn look<S, D>(selector: &mut Selector<S, D>) -> Vec<Event> {
    select(selector, Duration::ZERO)
}

/// Waits for events; fails if none arrives.
pub fn expect_events<S, D>(selector: &mut Selector<S, D>) -> Vec<Event> {
    let events = select(selector, SURELY);
    assert!(!events.is_empty(), "no event arrived");
    events
}

/// Returns the flags of the only event, which must be this registration's.
pub fn expect_one<S, D>(selector: &mut Selector<S, D>, key: Key) -> Ready {
    let events = expect_events(selector);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].key, key, "{events:?}");
    events[0].ready
}

/// Waits until the registration has reported all of these flags; other events may come before.
pub fn wait_until<S, D>(selector: &mut Selector<S, D>, key: Key, ready: Ready) {
    let deadline = Instant::now() + SURELY;
    loop {
        let events = expect_events(selector);
        if events.iter().any(|event| event.key == key && event.ready.contains(ready)) {
            return;
        }
        assert!(Instant::now() < deadline, "{ready:?} does not come, only {events:?}");
    }
}

/// Fails if an event arrives within a while.
#[track_caller]
pub fn expect_silence<S, D>(selector: &mut Selector<S, D>) {
    let events = select(selector, A_WHILE);
    assert!(events.is_empty(), "not silent: {events:?}");
}

pub fn select<S, D>(selector: &mut Selector<S, D>, timeout: Duration) -> Vec<Event> {
    let mut events = Events::with_capacity(256);
    let count = selector.select(&mut events, timeout).expect("selects");
    assert_eq!(count, events.len());
    let mut keys: Vec<_> = events.iter().map(|event| event.key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count, "two events for one registration: {events:?}");
    events.iter().collect()
}

/// Writes until the buffer is full.
pub fn fill(mut stream: impl Write) -> usize {
    let (chunk, mut written) = ([7; 65536], 0);
    // Where large writes are atomic, a few bytes may still fit.
    for size in [chunk.len(), 1024, 1] {
        loop {
            match stream.write(&chunk[..size]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("filling: {error}"),
            }
        }
    }
    written
}

/// Writes until the buffer is full, and no data under way makes room again.
pub fn fill_up(stream: &TcpStream) {
    let mut selector = open(Backend::Poll);
    selector.register(stream, W, ()).expect("is a socket");
    loop {
        fill(stream);
        // With little room it accepts bytes without being writable; wine accepts them for ever.
        if select(&mut selector, A_WHILE).is_empty() && (cfg!(windows) || fill(stream) == 0) {
            return;
        }
    }
}

/// Reads until nothing is left for now; returns the number of bytes.
pub fn drain(mut stream: impl Read) -> usize {
    let (mut chunk, mut total) = ([0; 65536], 0);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return total,
            Ok(count) => total += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return total,
            Err(error) => panic!("draining: {error}"),
        }
    }
}

/// Closes so that the peer sees a reset.
pub fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).expect("is a socket");
}

/// Waits for the effect of the peer's action, without a selector, so that a case can start from a
/// settled state.
pub fn wait_for_data(stream: &TcpStream) {
    stream.set_nonblocking(false).expect("is a socket");
    if !cfg!(miri) {
        stream.set_read_timeout(Some(SURELY)).expect("is a socket");
    }
    let seen = stream.peek(&mut [0]);
    stream.set_nonblocking(true).expect("is a socket");
    match seen {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("no data arrives"),
        _ => {}
    }
}

/// The processor time of this process, if the system reports it (otherwise zero), and the elapsed
/// time.
pub fn processor_time(work: impl FnOnce()) -> (Duration, Duration) {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    fn used() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::try_from(time).expect("is positive")
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    fn used() -> Duration {
        Duration::ZERO
    }

    let (before, start) = (used(), Instant::now());
    work();
    (used() - before, start.elapsed())
}
