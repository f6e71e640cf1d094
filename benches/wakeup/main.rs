//! Waking another thread: two threads wake each other in turn, each waiting on its own object.
//!
//! ```text
//! cargo bench -p polyselect-benches --bench wakeup
//! cargo bench -p polyselect-benches --bench wakeup -- --processors 0,1
//! cargo bench -p polyselect-benches --bench wakeup -- --unpinned
//! ```
//!
//! A round trip is two wakes and two waits that end; its median and its 99th percentile are wall time. The CPU time is
//! that of both threads. Both stay on one processor: on two, a round trip takes several times as long, nearly all of it
//! for waking the other processor, and the scheduler may move threads during a run. Both sides are the same contestant;
//! the base is an eventfd in an epoll, read after each wait. The definition of each contestant documents its
//! differences. A wait that ends without a wake is repeated, which counts for the contestant.

mod sleepers;

use std::io;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use clap::Parser;
use polyselect_benches::{Common, Report, alternate, cpu_time};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use sleepers::{CONTESTANTS, Contestant, Sleeper, Wake};

#[derive(Parser)]
struct Args {
    /// Round trips in each run.
    #[arg(long, default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1..))]
    trips: u64,
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// The processors of the two threads; without it, both stay on one.
    #[arg(long, value_name = "NUMBER,NUMBER", value_parser = processors)]
    processors: Option<[usize; 2]>,
    /// Let the scheduler choose their processors.
    #[arg(long, conflicts_with = "processors")]
    unpinned: bool,
    #[command(flatten)]
    common: Common,
}

fn processors(text: &str) -> Result<[usize; 2], String> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
    match numbers.as_deref() {
        Ok(&[here, there]) if here.max(there) < CpuSet::MAX_CPU => Ok([here, there]),
        _ => Err("two numbers are needed, as in 0,1".into()),
    }
}

/// Keeps the calling thread on this processor.
fn stay_on(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set)
        .map_err(|error| io::Error::other(format!("processor {processor}: {error}")))
}

fn main() -> io::Result<()> {
    let mut args = Args::parse();
    if args.common.quick {
        (args.trips, args.rounds) = (500, 1);
    }
    if args.processors.is_none() && !args.unpinned {
        args.processors = Some([sched_getcpu(); 2]);
    }
    let chosen = args.common.choose(CONTESTANTS, |contestant| contestant.name)?;
    let chosen: Vec<_> = chosen.into_iter().filter(|c| c.needs.is_available()).collect();
    let mut report = Report::new("wakeup", &args.common)?;
    let args = &args;
    let mut runs: Vec<_> = chosen.iter().map(|contestant| move || play(contestant, args)).collect();
    let results = alternate(args.rounds, &mut runs)?;
    let quantities = [
        ("round trip, median", "ns"),
        ("round trip, 99th percentile", "ns"),
        ("CPU time", "ns a round trip"),
    ];
    println!("\n{} round trips", args.trips);
    report.table(&[], &quantities, chosen.iter().map(|contestant| contestant.name).zip(results))
}

/// One of the two threads: where it waits, and the wakes it has been sent.
struct Player {
    sleeper: Box<dyn Sleeper>,
    sent: Arc<AtomicU64>,
    taken: u64,
}

/// How the other thread wakes it.
struct Racket {
    wake: Wake,
    sent: Arc<AtomicU64>,
}

impl Player {
    fn new(contestant: &Contestant) -> io::Result<(Self, Racket)> {
        let (sleeper, wake) = (contestant.open)()?;
        let sent = Arc::new(AtomicU64::new(0));
        let player = Self { sleeper, sent: Arc::clone(&sent), taken: 0 };
        Ok((player, Racket { wake, sent }))
    }

    /// Waits for one wake, always with a wait.
    fn sleep(&mut self) -> io::Result<()> {
        self.taken += 1;
        loop {
            match self.sleeper.sleep() {
                // A ring that the thread had before interrupts it once more when it is torn down.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            if self.sent.load(Ordering::Acquire) >= self.taken {
                return Ok(());
            }
        }
    }
}

impl Racket {
    fn wake(&self) -> io::Result<()> {
        self.sent.fetch_add(1, Ordering::Release);
        (self.wake)()
    }
}

/// Median and 99th percentile of the round trips, and the CPU time of one, in nanoseconds.
fn play(contestant: &'static Contestant, args: &Args) -> io::Result<[f64; 3]> {
    let (trips, unmeasured) = (args.trips, args.trips / 10);
    let processors = args.processors;
    if let Some([here, _]) = processors {
        stay_on(here)?;
    }
    let (mut here, racket_there) = Player::new(contestant)?;
    let (sender, receiver) = sync_channel(1);
    // Each opens its object on its own thread, where it has to stay.
    let there = thread::spawn(move || {
        let play = || {
            if let Some([_, there]) = processors {
                stay_on(there)?;
            }
            let (mut there, racket_here) = Player::new(contestant)?;
            sender.send(racket_here).map_err(|_| io::Error::other("the other thread has ended"))?;
            (0..unmeasured + trips).try_for_each(|_| {
                there.sleep()?;
                racket_there.wake()
            })
        };
        if let Err(error) = play() {
            // Otherwise the other thread would wait indefinitely.
            eprintln!("{}: {error}", contestant.name);
            exit(1);
        }
        // Dropping mio's waker discards a pending wake.
        racket_there
    });
    let racket = receiver.recv().map_err(io::Error::other)?;
    let mut trip = || {
        let start = Instant::now();
        racket.wake()?;
        here.sleep()?;
        io::Result::Ok(start.elapsed().as_nanos() as u64)
    };
    for _ in 0..unmeasured {
        trip()?;
    }
    let before = cpu_time();
    let mut times = (0..trips).map(|_| trip()).collect::<io::Result<Vec<_>>>()?;
    let cpu = cpu_time() - before;
    drop(there.join().map_err(|_| io::Error::other("the other thread panicked"))?);
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize] as f64;
    Ok([at(0.5), at(0.99), cpu.as_nanos() as f64 / trips as f64])
}
