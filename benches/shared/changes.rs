//! Changes beside a thread that waits.

use std::io;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use polyselect_benches::cpu_time;

/// Long enough for the waiting thread to fall asleep.
const PAUSE: Duration = Duration::from_micros(50);

/// The quantities that [`run`] measures.
pub const QUANTITIES: [(&str, &str); 6] = [
    ("pair in a row, wall", "ns"),
    ("pair in a row, CPU", "ns"),
    ("pair apart, median", "ns"),
    ("pair apart, CPU", "ns"),
    ("arm to event, median", "ns"),
    ("arm to event, CPU", "ns"),
];

/// The side of the thread that waits.
pub trait Wait: Send + 'static {
    /// Waits once; returns whether the armed source was reported.
    fn wait(&mut self) -> io::Result<bool>;
}

/// The side of the thread that changes.
pub trait Change {
    fn register(&mut self) -> io::Result<()>;
    fn unregister(&mut self) -> io::Result<()>;
    /// Lets a source that is ready be reported once.
    fn arm(&mut self) -> io::Result<()>;
    /// Ends the present wait, or the next.
    fn wake(&self) -> io::Result<()>;
}

/// The state that both threads share.
struct Shared {
    start: Instant,
    is_over: AtomicBool,
    /// When the last event came, in nanoseconds since the start.
    event_at: AtomicU64,
    changing: Thread,
}

fn wait(mut side: impl Wait, shared: &Shared) -> io::Result<()> {
    while !shared.is_over.load(Ordering::Acquire) {
        if side.wait()? {
            let now = shared.start.elapsed().as_nanos() as u64;
            shared.event_at.store(now, Ordering::Release);
            shared.changing.unpark();
        }
    }
    Ok(())
}

pub fn run(
    name: &'static str,
    (waiting, mut side): (impl Wait, impl Change),
    changes: u32,
) -> io::Result<[f64; 6]> {
    let shared = Arc::new(Shared {
        start: Instant::now(),
        is_over: AtomicBool::new(false),
        event_at: AtomicU64::new(0),
        changing: thread::current(),
    });
    let thread = thread::spawn({
        let shared = Arc::clone(&shared);
        move || {
            if let Err(error) = wait(waiting, &shared) {
                // Otherwise the other thread would wait indefinitely.
                eprintln!("{name}: {error}");
                exit(1);
            }
        }
    });
    let few = (changes / 10).max(10);
    let result = measure(&mut side, &shared, changes, few);
    shared.is_over.store(true, Ordering::Release);
    side.wake()?;
    thread.join().map_err(|_| io::Error::other("the waiting thread panicked"))?;
    result
}

fn measure(side: &mut dyn Change, shared: &Shared, changes: u32, few: u32) -> io::Result<[f64; 6]> {
    let mut pair = || {
        side.register()?;
        side.unregister()
    };
    (0..changes / 10).try_for_each(|_| pair())?;
    thread::sleep(PAUSE);
    let (wall, cpu) = (Instant::now(), cpu_time());
    (0..changes).try_for_each(|_| pair())?;
    let in_a_row = [wall.elapsed(), cpu_time() - cpu].map(|time| per(time, changes));

    let pauses = cpu_time();
    (0..few).for_each(|_| thread::sleep(PAUSE));
    let pauses = cpu_time() - pauses;
    let cpu = cpu_time();
    let mut walls = Vec::new();
    for _ in 0..few {
        thread::sleep(PAUSE);
        let wall = Instant::now();
        pair()?;
        walls.push(wall.elapsed());
    }
    let apart = [median(walls), per((cpu_time() - cpu).saturating_sub(pauses), few)];

    let (mut latencies, cpu) = (Vec::new(), cpu_time());
    for _ in 0..few {
        let before = shared.event_at.load(Ordering::Acquire);
        let armed_at = shared.start.elapsed();
        side.arm()?;
        let mut event_at = before;
        while event_at == before {
            thread::park();
            event_at = shared.event_at.load(Ordering::Acquire);
        }
        latencies.push(Duration::from_nanos(event_at).saturating_sub(armed_at));
    }
    let armed = [median(latencies), per(cpu_time() - cpu, few)];
    Ok([in_a_row[0], in_a_row[1], apart[0], apart[1], armed[0], armed[1]])
}

fn per(time: Duration, count: u32) -> f64 {
    time.as_nanos() as f64 / f64::from(count)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_nanos() as f64
}
