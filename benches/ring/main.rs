//! The classic ring: N pipes are watched, A bytes are under way. Each event reads one byte and
//! writes one to the next pipe, so that every turn of the loop has A events.
//!
//! ```text
//! cargo bench -p polyselect-benches --bench ring
//! cargo bench -p polyselect-benches --bench ring -- --instructions
//! cargo bench -p polyselect-benches --bench ring -- --system-calls
//! ```
//!
//! Every contestant does the same work on the same kind of pipes. Times are CPU time of the whole
//! process; they are compared within a round, in which all take turns, each in a process of its own,
//! and the ratio is to raw epoll.
//!
//! The contestants differ as follows, with details where each is defined:
//!
//! - raw, raw-callback, raw-libc, polling, calloop, epoll, event-loop, io_uring, our-mio, poll and select
//!   are level-triggered; raw-uring and polling-oneshot are re-armed after each event; raw-edge,
//!   raw-uring-multi, mio, polling-edge, tokio, epoll-edge, event-loop-edge, coroutines and
//!   io_uring-edge are edge-triggered; calloop-tasks and async-io are one-shot.
//! - tokio, async-io, calloop-tasks and coroutines have a task for each pipe, calloop, event-loop and
//!   event-loop-edge a callback; mio, polling and the raw ones look nothing up.
//! - raw makes its system calls without calling a function, raw-libc by way of the C library, and
//!   raw-callback does the work of an event in a function.

mod contestants;

use std::io;

use clap::Parser;
use polyselect_benches::{
    Common, Compared, DescriptorLimit, Report, alternate, figure, instructions,
    raise_descriptor_limit, system_calls, timed,
};

use contestants::{CONTESTANTS, Contestant};

#[derive(Parser)]
struct Args {
    /// Pipes that are watched.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1000, 9900])]
    pipes: Vec<usize>,
    /// Bytes in transit.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 1000])]
    active: Vec<usize>,
    /// Events in each run.
    #[arg(long, default_value_t = 60_000)]
    events: u64,
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Include contestants whose waits walk all registrations, for any N.
    #[arg(long)]
    all: bool,
    /// Count user-space instructions instead of time.
    #[arg(long)]
    instructions: bool,
    /// Count system calls instead of time.
    #[arg(long)]
    system_calls: bool,
    /// Run one contestant once and print nothing.
    #[arg(long, hide = true)]
    once: bool,
    /// Run one contestant once, and print the cost of an event.
    #[arg(long, hide = true)]
    timed: bool,
    #[command(flatten)]
    common: Common,
}

fn main() -> io::Result<()> {
    let mut args = Args::parse();
    if args.common.quick {
        (args.pipes, args.active) = (vec![100], vec![1, 100]);
        (args.events, args.rounds) = (2000, 1);
    }
    let limit = raise_descriptor_limit()?;
    let chosen = args.common.choose(CONTESTANTS, |contestant| contestant.name)?;
    let mut report = Report::new("ring", &args.common)?;
    for &pipes in &args.pipes {
        for &active in args.active.iter().filter(|&&active| active <= pipes) {
            // The first is the base; skip it, unless it is alone.
            let contestant = chosen[chosen.len() - 1];
            if args.once {
                contestant.open(pipes, active)?.run(args.events)?;
                continue;
            }
            if args.timed {
                println!("{}", time_of_an_event(contestant, pipes, active, args.events)?);
                continue;
            }
            run(&chosen, pipes, active, &args, limit, &mut report)?;
        }
    }
    Ok(())
}

fn run(
    chosen: &[&'static Contestant],
    pipes: usize,
    active: usize,
    args: &Args,
    limit: DescriptorLimit,
    report: &mut Report,
) -> io::Result<()> {
    if !limit.allows(2 * pipes) {
        return Ok(());
    }
    let cheap = |contestant: &Contestant| pipes <= 1000 && active >= 100 || !contestant.walks;
    let wanted = |contestant: &Contestant| {
        let affordable = args.all || !args.common.only.is_empty() || cheap(contestant);
        contestant.is_available() && affordable
    };
    let mut contestants: Vec<_> = chosen.iter().copied().filter(|c| wanted(c)).collect();
    if !contestants.iter().any(|contestant| contestant.name == BARE.name) {
        contestants.insert(1, BARE);
    }
    println!("\n{pipes} pipes, {active} active");
    if args.instructions {
        count_instructions(&contestants, pipes, active)
    } else if args.system_calls {
        count_system_calls(&contestants, pipes, active, args.events)
    } else {
        compare(&contestants, pipes, active, args, report)
    }
}

/// The common settings of all contestants.
const BARE: &Contestant = &CONTESTANTS[1];

fn compare(
    contestants: &[&Contestant],
    pipes: usize,
    active: usize,
    args: &Args,
    report: &mut Report,
) -> io::Result<()> {
    let mut runs = Vec::new();
    for contestant in contestants {
        let command = command("--timed", contestant, pipes, active, args.events);
        runs.push(move || Ok([figure(&command)?]));
    }
    let results = alternate(args.rounds, &mut runs)?;
    println!(
        "{:16} {:>8} {:>22} {:>15}",
        "", "ns/event", "ratio: min median max", "above the bare"
    );
    for (contestant, [result]) in contestants.iter().zip(&results) {
        // Of the cost above reading and writing, the part of raw epoll's.
        let above = |[result]: &[Compared; 1]| result.cost.median - results[1][0].cost.median;
        println!(
            "{:16} {:8.1} {:8.3} {:6.3} {:6.3} {:15.2}",
            contestant.name,
            result.cost.median,
            result.ratio.min,
            result.ratio.median,
            result.ratio.max,
            above(&[*result]) / above(&results[0])
        );
        let settings = [("pipes", pipes as u64), ("active", active as u64)];
        report.record_only(&settings, contestant.name, ("CPU time", "ns an event"), result)?;
    }
    Ok(())
}

fn time_of_an_event(
    contestant: &Contestant,
    pipes: usize,
    active: usize,
    events: u64,
) -> io::Result<f64> {
    let mut ring = contestant.open(pipes, active)?;
    // One run only: a loop that is entered a second time is sometimes slower by a third for its whole run, because of
    // state that the processor keeps from the first time.
    let time = timed(|| ring.run(events))?;
    Ok(time.as_nanos() as f64 / events as f64)
}

/// One run in a process of its own.
fn command(
    how: &str,
    contestant: &Contestant,
    pipes: usize,
    active: usize,
    events: u64,
) -> Vec<String> {
    let (pipes, active, events) = (pipes.to_string(), active.to_string(), events.to_string());
    let arguments = [how, "--only", contestant.name, "--pipes", &pipes];
    let more = ["--active", &active, "--events", &events];
    arguments.into_iter().chain(more).map(str::to_owned).collect()
}

/// Returns the difference of a long and a short run, which excludes the set-up.
fn count_instructions(contestants: &[&Contestant], pipes: usize, active: usize) -> io::Result<()> {
    let (few, many) = (20_000, 120_000);
    for contestant in contestants {
        let short = instructions(&command("--once", contestant, pipes, active, few))?;
        let long = instructions(&command("--once", contestant, pipes, active, many))?;
        let (Some(short), Some(long)) = (short, long) else {
            println!("valgrind is not installed: no instructions counted");
            return Ok(());
        };
        let each = (long - short) as f64 / (many - few) as f64;
        println!("{:16} {each:8.1} instructions an event", contestant.name);
    }
    Ok(())
}

fn count_system_calls(
    contestants: &[&Contestant],
    pipes: usize,
    active: usize,
    events: u64,
) -> io::Result<()> {
    for contestant in contestants {
        let none = system_calls(&command("--once", contestant, pipes, active, 0))?;
        let all = system_calls(&command("--once", contestant, pipes, active, events))?;
        let (Some(none), Some(all)) = (none, all) else {
            println!("strace is not installed: no system calls counted");
            return Ok(());
        };
        print!("{:16} {events} events:", contestant.name);
        for (name, calls) in all {
            let before = none.iter().find(|(other, _)| *other == name).map_or(0, |row| row.1);
            if calls > before + events / 10_000 {
                print!(" {} {name}", calls - before);
            }
        }
        println!();
    }
    Ok(())
}
