//! The classic ring: N pipes are watched, A bytes are under way. Each event reads one byte and
//! writes one to the next pipe, so that every turn of the loop has A events.
//!
//! ```text
//! cargo bench -p polyselect-benches --bench ring
//! cargo bench -p polyselect-benches --bench ring -- --instructions
//! cargo bench -p polyselect-benches --bench ring -- --system-calls
//! ```
//!
//! Every contestant does the same work on the same kind of pipes; what differs is noted where it is
//! defined. Times are CPU time of the whole process; they are compared within a round, in which all
//! take turns, and the ratio is to raw epoll.

mod coroutines;
mod ours;
mod peers;
mod raw;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use clap::Parser;
use polyselect_benches::{
    Compared, alternate, instructions, raise_descriptor_limit, system_calls, timed,
};
use rustix::pipe::{PipeFlags, pipe_with};

#[derive(Parser)]
struct Args {
    /// Pipes that are watched.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1000, 9900])]
    pipes: Vec<usize>,
    /// Bytes under way.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 1000])]
    active: Vec<usize>,
    /// Events in each run.
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Only these contestants, beside the first.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Also the contestants whose every wait walks all that is registered, however large N is.
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
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A loop over the read ends of pipes.
trait Ring {
    /// Runs until so many events have had their work done, or a few more.
    fn run(&mut self, events: u64) -> io::Result<()>;
}

/// A loop that its user turns.
trait Turns {
    /// Waits once, does the work of each event, and says how many there were.
    fn turn(&mut self) -> io::Result<u64>;
}

impl<L: Turns> Ring for L {
    fn run(&mut self, events: u64) -> io::Result<()> {
        let mut done = 0;
        while done < events {
            done += self.turn()?;
        }
        Ok(())
    }
}

/// Both ends of the pipes. The write ends can be had by many, as callbacks and tasks need it.
struct Pipes {
    readers: Vec<OwnedFd>,
    writers: Rc<[OwnedFd]>,
}

struct Contestant {
    name: &'static str,
    open: fn(Pipes) -> io::Result<Box<dyn Ring>>,
    /// Whether each wait walks all that is registered.
    walks: bool,
}

/// The first is what the others are compared with, the second is what all of them have in common.
const CONTESTANTS: &[Contestant] = &[
    Contestant { name: "raw", open: raw::epoll::<false>, walks: false },
    Contestant { name: "bare", open: raw::bare, walks: false },
    Contestant { name: "raw-edge", open: raw::epoll::<true>, walks: false },
    Contestant { name: "mio", open: peers::mio, walks: false },
    Contestant { name: "calloop", open: peers::calloop, walks: false },
    Contestant { name: "tokio", open: peers::tokio, walks: false },
    Contestant { name: "epoll", open: ours::epoll, walks: false },
    Contestant { name: "epoll-edge", open: ours::epoll_edge, walks: false },
    Contestant { name: "event-loop", open: ours::event_loop, walks: false },
    Contestant { name: "coroutines", open: coroutines::epoll, walks: false },
    Contestant { name: "io_uring", open: ours::io_uring, walks: false },
    Contestant { name: "io_uring-edge", open: ours::io_uring_edge, walks: false },
    Contestant { name: "our-mio", open: ours::mio, walks: false },
    Contestant { name: "poll", open: ours::poll, walks: true },
    Contestant { name: "select", open: ours::select, walks: true },
];

/// What an event is for: one byte in, one byte out to the next pipe.
#[inline]
fn pass_on(reader: BorrowedFd<'_>, index: usize, writers: &[OwnedFd]) -> io::Result<()> {
    let mut byte = [0];
    rustix::io::read(reader, &mut byte)?;
    write_to_next(&byte, index, writers)
}

#[inline]
fn write_to_next(byte: &[u8], index: usize, writers: &[OwnedFd]) -> io::Result<()> {
    let next = if index + 1 < writers.len() { index + 1 } else { 0 };
    rustix::io::write(&writers[next], byte)?;
    Ok(())
}

/// Room for the events of a turn, the same for all.
const CAPACITY: usize = 1024;

/// A ring with `active` bytes under way.
fn open(contestant: &Contestant, pipes: usize, active: usize) -> io::Result<Box<dyn Ring>> {
    let (mut readers, mut writers) = (Vec::new(), Vec::new());
    for _ in 0..pipes {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        readers.push(reader);
        writers.push(writer);
    }
    for index in 0..active {
        rustix::io::write(&writers[index * pipes / active], b"x")?;
    }
    (contestant.open)(Pipes { readers, writers: writers.into() })
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    raise_descriptor_limit()?;
    for &pipes in &args.pipes {
        for &active in args.active.iter().filter(|&&active| active <= pipes) {
            let contestants = CONTESTANTS.iter().filter(|contestant| {
                let named = args.only.iter().any(|name| name == contestant.name);
                let cheap = args.all || pipes <= 1000 && active >= 100;
                let base = !args.once && ["raw", "bare"].contains(&contestant.name);
                named || base || args.only.is_empty() && (cheap || !contestant.walks)
            });
            let contestants: Vec<_> = contestants.collect();
            if args.once {
                for contestant in contestants {
                    open(contestant, pipes, active)?.run(args.events)?;
                }
                continue;
            }
            println!("\n{pipes} pipes, {active} active");
            if args.instructions {
                count_instructions(&contestants, pipes, active)?;
            } else if args.system_calls {
                count_system_calls(&contestants, pipes, active, args.events)?;
            } else {
                compare(&contestants, pipes, active, &args)?;
            }
        }
    }
    Ok(())
}

fn compare(
    contestants: &[&Contestant],
    pipes: usize,
    active: usize,
    args: &Args,
) -> io::Result<()> {
    let mut runs = Vec::new();
    for contestant in contestants {
        // Every descriptor of the process counts for nobody in particular, so all rings are open
        // one at a time.
        runs.push(move || {
            let mut ring = open(contestant, pipes, active)?;
            ring.run(args.events / 10)?;
            let time = timed(|| ring.run(args.events))?;
            Ok(time.as_nanos() as f64 / args.events as f64)
        });
    }
    let results = alternate(args.rounds, &mut runs)?;
    println!(
        "{:14} {:>8} {:>22} {:>15}",
        "", "ns/event", "ratio: min median max", "above the bare"
    );
    for (contestant, result) in contestants.iter().zip(&results) {
        // Of the cost above reading and writing, the part of raw epoll's.
        let above = |result: &Compared| result.cost.median - results[1].cost.median;
        println!(
            "{:14} {:8.1} {:8.3} {:6.3} {:6.3} {:15.2}",
            contestant.name,
            result.cost.median,
            result.ratio.min,
            result.ratio.median,
            result.ratio.max,
            above(result) / above(&results[0])
        );
    }
    Ok(())
}

fn once(contestant: &Contestant, pipes: usize, active: usize, events: u64) -> Vec<String> {
    let (pipes, active, events) = (pipes.to_string(), active.to_string(), events.to_string());
    let arguments = ["--once", "--only", contestant.name, "--pipes", &pipes];
    let more = ["--active", &active, "--events", &events];
    arguments.into_iter().chain(more).map(str::to_owned).collect()
}

/// The difference of a long and a short run, so that opening counts for nothing.
fn count_instructions(contestants: &[&Contestant], pipes: usize, active: usize) -> io::Result<()> {
    let (few, many) = (20_000, 120_000);
    for contestant in contestants {
        let short = instructions(&once(contestant, pipes, active, few))?;
        let long = instructions(&once(contestant, pipes, active, many))?;
        let (Some(short), Some(long)) = (short, long) else {
            println!("valgrind is not installed: no instructions counted");
            return Ok(());
        };
        let each = (long - short) as f64 / (many - few) as f64;
        println!("{:14} {each:8.1} instructions an event", contestant.name);
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
        let none = system_calls(&once(contestant, pipes, active, 0))?;
        let all = system_calls(&once(contestant, pipes, active, events))?;
        let (Some(none), Some(all)) = (none, all) else {
            println!("strace is not installed: no system calls counted");
            return Ok(());
        };
        print!("{:14} {events} events:", contestant.name);
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
