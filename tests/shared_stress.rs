//! Threads that register, modify, write, pause, unregister and close, beside two that wait in turn,
//! on every backend. Checked are
//!
//! - the bytes: each connection has its own sequence, so one that is lost, doubled or another's is noticed;
//! - events: what is written while a registration is armed is read, or the test ends with an error;
//! - stale events: a `select` that begins after `unregister`, or after a pause, does not report the key;
//! - the end of the stream: the peer sees it as soon as `unregister` has returned the source and it is dropped;
//! - reused numbers: a connection that is closed leaves its descriptors to the next.
//!
//! ```text
//! cargo test --test shared_stress
//! POLYSELECT_STRESS_SECONDS=120 cargo test --release --test shared_stress -- --nocapture epoll
//! ```

#![cfg(unix)]

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};
use std::{env, thread};

use polyselect::{Backend, Events, Interest, Key, SharedSelector, Watch};

/// The time limit for events that must happen. Only a failing test waits this long.
const SURELY: Duration = Duration::from_secs(60);

const CHANGING: u64 = 4;
const WAITING: usize = 2;

/// The state of a connection's source.
struct Connection {
    number: u64,
    /// The number of bytes read, and whether the stream has ended.
    read: Mutex<u64>,
    has_read: Condvar,
    /// The last `select` that may have begun before the registration was paused; the maximum if it is not.
    paused_at: AtomicU64,
    watch: Mutex<Watch>,
}

struct Stress {
    selector: SharedSelector<UnixStream, Arc<Connection>>,
    /// Numbers the calls of `select` in the order in which they begin.
    selects: AtomicU64,
    /// The last `select` that may have begun before each key was unregistered.
    gone: Mutex<HashMap<Key, u64>>,
    is_over: AtomicBool,
    events: AtomicU64,
    late: AtomicU64,
    registered: AtomicU64,
    /// The longest wait for an event, in microseconds.
    longest: AtomicU64,
}

/// The byte at this place of a connection's stream.
fn byte(connection: u64, place: u64) -> u8 {
    (connection.wrapping_mul(31) ^ place.wrapping_mul(7)) as u8
}

/// A generator of random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

impl Stress {
    /// A thread that waits when no other does.
    fn wait(&self) {
        let mut events = Events::with_capacity(64);
        while !self.is_over.load(Ordering::Relaxed) {
            let begun = self.selects.fetch_add(1, Ordering::SeqCst) + 1;
            match self.selector.select(&mut events, Duration::from_millis(50)) {
                Ok(_) => events.iter().for_each(|event| self.handle(event.key, begun)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ResourceBusy, "{error}");
                    thread::yield_now();
                }
            }
        }
    }

    fn handle(&self, key: Key, begun: u64) {
        self.events.fetch_add(1, Ordering::Relaxed);
        let read = self.selector.with(key, |mut source, connection| {
            let paused_at = connection.paused_at.load(Ordering::SeqCst);
            assert!(begun <= paused_at, "an event of a paused registration");
            let mut bytes = [0; 64];
            let mut read = connection.read.lock().unwrap();
            loop {
                match source.read(&mut bytes) {
                    Ok(0) => break,
                    Ok(count) => {
                        for (place, &found) in (*read..).zip(&bytes[..count]) {
                            assert_eq!(found, byte(connection.number, place), "a wrong byte");
                        }
                        *read += count as u64;
                        // A level-triggered registration reports the rest again.
                        if !connection.watch.lock().unwrap().is_edge() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("reading: {error}"),
                }
            }
            connection.has_read.notify_all();
            let watch = *connection.watch.lock().unwrap();
            watch.is_oneshot().then(|| watch.interest())
        });
        match read {
            // Another thread may unregister it meanwhile.
            Some(Some(interest)) => drop(self.selector.modify(key, interest)),
            Some(None) => {}
            None => {
                self.late.fetch_add(1, Ordering::Relaxed);
                let gone = self.gone.lock().unwrap().get(&key).copied();
                assert!(gone.is_none_or(|gone| begun <= gone), "a stale event");
            }
        }
    }

    /// The life of one connection.
    fn serve_one(&self, number: u64, random: &mut Random) {
        let (source, mut peer) = UnixStream::pair().unwrap();
        source.set_nonblocking(true).unwrap();
        let modes = self.selector.backend().capabilities();
        let mut watch = Watch::from(Interest::READABLE);
        if modes.edge && random.below(2) == 0 {
            watch = watch.edge();
        }
        if random.below(2) == 0 {
            watch = watch.oneshot();
        }
        let connection = Arc::new(Connection {
            number,
            read: Mutex::new(0),
            has_read: Condvar::new(),
            paused_at: AtomicU64::new(u64::MAX),
            watch: Mutex::new(watch),
        });
        let key = self.selector.register(source, watch, Arc::clone(&connection)).unwrap();
        self.registered.fetch_add(1, Ordering::Relaxed);
        let mut written = 0;
        for _ in 0..random.below(12) {
            match random.below(8) {
                0 => self.selector.modify(key, Interest::READABLE).unwrap(),
                1 => self.pause(key, &connection, &mut peer, &mut written),
                2 if random.below(50) == 0 => {
                    self.selector.rebuild_with(self.selector.backend()).unwrap();
                }
                3 => self.selector.waker().wake().unwrap(),
                _ => {
                    write(&mut peer, &connection, &mut written, 1 + random.below(100));
                    if random.below(2) == 0 {
                        self.expect_read(&connection, written);
                    }
                }
            }
        }
        // With unread bytes, the peer would see a reset.
        self.expect_read(&connection, written);
        let registration = self.selector.unregister(key).unwrap();
        let after = self.selects.load(Ordering::SeqCst);
        self.gone.lock().unwrap().insert(key, after);
        drop(registration);
        peer.set_nonblocking(true).unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the end of the stream is late");
        self.gone.lock().unwrap().retain(|_, &mut gone| gone + 1000 > after);
    }

    fn pause(&self, key: Key, connection: &Connection, peer: &mut UnixStream, written: &mut u64) {
        self.expect_read(connection, *written);
        if connection.watch.lock().unwrap().is_oneshot() {
            return; // The waiting thread re-arms it.
        }
        self.selector.modify(key, Interest::empty()).unwrap();
        connection.paused_at.store(self.selects.load(Ordering::SeqCst), Ordering::SeqCst);
        write(peer, connection, written, 10);
        thread::yield_now();
        connection.paused_at.store(u64::MAX, Ordering::SeqCst);
        self.selector.modify(key, Interest::READABLE).unwrap();
    }

    fn expect_read(&self, connection: &Connection, written: u64) {
        let start = Instant::now();
        let read = connection.read.lock().unwrap();
        let (read, timeout) =
            connection.has_read.wait_timeout_while(read, SURELY, |read| *read < written).unwrap();
        assert!(!timeout.timed_out(), "an event was lost: {} of {written} bytes were read", *read);
        drop(read);
        self.longest.fetch_max(start.elapsed().as_micros() as u64, Ordering::Relaxed);
    }
}

fn write(peer: &mut UnixStream, connection: &Connection, written: &mut u64, count: u64) {
    let bytes: Vec<_> =
        (*written..*written + count).map(|place| byte(connection.number, place)).collect();
    peer.write_all(&bytes).unwrap();
    *written += count;
}

fn on(backend: Backend) {
    if !backend.is_available() {
        println!("skipped: this system does not have {backend}");
        return;
    }
    let seconds = env::var("POLYSELECT_STRESS_SECONDS");
    let seconds = seconds.map_or(1, |seconds| seconds.parse().expect("a number of seconds"));
    let stress = Stress {
        selector: SharedSelector::with_backend(backend).unwrap(),
        selects: AtomicU64::new(0),
        gone: Mutex::new(HashMap::new()),
        is_over: AtomicBool::new(false),
        events: AtomicU64::new(0),
        late: AtomicU64::new(0),
        registered: AtomicU64::new(0),
        longest: AtomicU64::new(0),
    };
    let stress = &stress;
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..WAITING).map(|_| scope.spawn(|| stress.wait())).collect();
        let stop = Instant::now() + Duration::from_secs(seconds);
        let changing: Vec<_> = (0..CHANGING)
            .map(|thread| {
                scope.spawn(move || {
                    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ (thread << 32));
                    let mut number = thread;
                    while Instant::now() < stop {
                        number += CHANGING;
                        stress.serve_one(number, &mut random);
                    }
                })
            })
            .collect();
        // The waiting threads are needed until the others have ended.
        let changed: Vec<_> = changing.into_iter().map(ScopedJoinHandle::join).collect();
        stress.is_over.store(true, Ordering::Relaxed);
        let waited: Vec<_> = waiting.into_iter().map(ScopedJoinHandle::join).collect();
        assert!(changed.iter().chain(&waited).all(Result::is_ok), "a thread has failed");
    });
    assert!(stress.selector.is_empty());
    let figure = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{backend}: {} selects, {} events, {} of keys gone by then, {} registered, at most {} us",
        figure(&stress.selects),
        figure(&stress.events),
        figure(&stress.late),
        figure(&stress.registered),
        figure(&stress.longest),
    );
    assert!(figure(&stress.registered) > 0);
}

#[test]
fn epoll() {
    on(Backend::Epoll);
}

#[test]
fn kqueue() {
    on(Backend::Kqueue);
}

#[test]
fn mio() {
    on(Backend::Mio);
}

#[test]
fn poll() {
    on(Backend::Poll);
}

#[test]
fn select() {
    on(Backend::Select);
}
