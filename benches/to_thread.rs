//! Blocking work on another thread: a task sends a function that returns immediately to a pool, and waits for its
//! result.
//!
//! ```text
//! cargo bench -p polyselect-benches --bench to_thread
//! cargo bench -p polyselect-benches --bench to_thread -- --unpinned
//! ```
//!
//! A round trip is two wakes: of an idle thread of the pool, and of the one that waits. All threads stay on one
//! processor, because on two processors waking the other one takes most of the time. The base is the crate `blocking`,
//! whose result a parked thread waits for (`blocking`); in `async-io` it waits in that crate's reactor, as a program
//! with sources does.

use std::io;
use std::time::Instant;

use clap::Parser;
use polyselect::{Backend, EventLoop, asyncio};
use polyselect_benches::{Common, Report, alternate, cpu_time};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

#[derive(Parser)]
struct Args {
    /// Round trips in each run.
    #[arg(long, default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1..))]
    trips: u64,
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Let the scheduler choose the processors.
    #[arg(long)]
    unpinned: bool,
    #[command(flatten)]
    common: Common,
}

struct Contestant {
    name: &'static str,
    /// Makes this many round trips.
    run: fn(u64) -> io::Result<()>,
}

const CONTESTANTS: &[Contestant] = &[
    Contestant { name: "blocking", run: |trips| futures_lite::future::block_on(unblock(trips)) },
    Contestant { name: "async-io", run: |trips| async_io::block_on(unblock(trips)) },
    Contestant { name: "epoll", run: |trips| to_thread(Backend::Epoll, trips) },
    Contestant { name: "poll", run: |trips| to_thread(Backend::Poll, trips) },
    Contestant { name: "tokio", run: tokio_blocking },
];

async fn unblock(trips: u64) -> io::Result<()> {
    for _ in 0..trips {
        blocking::unblock(|| ()).await;
    }
    Ok(())
}

fn to_thread(backend: Backend, trips: u64) -> io::Result<()> {
    EventLoop::with_backend(backend, ())?.block_on(async {
        for _ in 0..trips {
            asyncio::to_thread(|| ()).await?;
        }
        Ok(())
    })?
}

fn tokio_blocking(trips: u64) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for _ in 0..trips {
            tokio::task::spawn_blocking(|| ()).await?;
        }
        Ok(())
    })
}

fn main() -> io::Result<()> {
    let mut args = Args::parse();
    if args.common.quick {
        (args.trips, args.rounds) = (100, 1);
    }
    if !args.unpinned {
        // Before any thread of a pool starts, which inherits it.
        let mut set = CpuSet::new();
        set.set(sched_getcpu());
        sched_setaffinity(None, &set)?;
    }
    let chosen = args.common.choose(CONTESTANTS, |contestant| contestant.name)?;
    let mut report = Report::new("to_thread", &args.common)?;
    let args = &args;
    let mut runs: Vec<_> = chosen.iter().map(|contestant| move || time(contestant, args)).collect();
    let results = alternate(args.rounds, &mut runs)?;
    println!("\n{} round trips", args.trips);
    let quantities = [("round trip", "ns"), ("CPU time", "ns a round trip")];
    report.table(&[], &quantities, chosen.iter().map(|contestant| contestant.name).zip(results))
}

/// Time and CPU time of a round trip, in nanoseconds.
fn time(contestant: &Contestant, args: &Args) -> io::Result<[f64; 2]> {
    // So that the pool has its threads.
    (contestant.run)(args.trips / 10 + 1)?;
    let (start, cpu_before) = (Instant::now(), cpu_time());
    (contestant.run)(args.trips)?;
    let took = [start.elapsed(), cpu_time() - cpu_before];
    Ok(took.map(|took| took.as_nanos() as f64 / args.trips as f64))
}
