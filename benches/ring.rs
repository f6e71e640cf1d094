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

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use clap::Parser;
use polyselect::{Backend, Events, Interest, Selector, Watch};
use polyselect_benches::{
    Compared, alternate, instructions, raise_descriptor_limit, system_calls, timed,
};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
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
    /// Waits once, and does the work of each event.
    fn turn(&mut self, writers: &[OwnedFd]) -> io::Result<u64>;
}

struct Contestant {
    name: &'static str,
    open: fn(Vec<OwnedFd>) -> io::Result<Box<dyn Ring>>,
    /// Whether each wait walks all that is registered.
    walks: bool,
}

/// The first is what the others are compared with, the second is what all of them have in common.
const CONTESTANTS: &[Contestant] = &[
    Contestant { name: "raw", open: raw::<false>, walks: false },
    Contestant { name: "bare", open: bare, walks: false },
    Contestant { name: "raw-edge", open: raw::<true>, walks: false },
    Contestant { name: "mio", open: mio_ring, walks: false },
    Contestant { name: "epoll", open: epoll_level, walks: false },
    Contestant { name: "epoll-edge", open: epoll_edge, walks: false },
    Contestant { name: "io_uring", open: io_uring_level, walks: false },
    Contestant { name: "io_uring-edge", open: io_uring_edge, walks: false },
    Contestant { name: "our-mio", open: our_mio, walks: false },
    Contestant { name: "poll", open: poll_level, walks: true },
    Contestant { name: "select", open: select_level, walks: true },
];

/// What an event is for: one byte in, one byte out to the next pipe.
#[inline]
fn pass_on(reader: BorrowedFd<'_>, index: usize, writers: &[OwnedFd]) -> io::Result<()> {
    let mut byte = [0];
    rustix::io::read(reader, &mut byte)?;
    let next = if index + 1 < writers.len() { index + 1 } else { 0 };
    rustix::io::write(&writers[next], &byte)?;
    Ok(())
}

/// Room for the events of a turn, the same for all.
const CAPACITY: usize = 1024;

/// epoll as a C program would use it: the data of an event is the index into the readers.
struct Raw {
    epoll: OwnedFd,
    readers: Vec<OwnedFd>,
    events: Vec<epoll::Event>,
}

fn raw<const EDGE: bool>(readers: Vec<OwnedFd>) -> io::Result<Box<dyn Ring>> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut flags = epoll::EventFlags::IN;
    flags.set(epoll::EventFlags::ET, EDGE);
    for (index, reader) in readers.iter().enumerate() {
        epoll::add(&epoll, reader, epoll::EventData::new_u64(index as u64), flags)?;
    }
    Ok(Box::new(Raw { epoll, readers, events: Vec::with_capacity(CAPACITY) }))
}

impl Ring for Raw {
    fn turn(&mut self, writers: &[OwnedFd]) -> io::Result<u64> {
        self.events.clear();
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), None)?;
        for event in &self.events {
            let index = { event.data }.u64() as usize;
            pass_on(self.readers[index].as_fd(), index, writers)?;
        }
        Ok(self.events.len() as u64)
    }
}

/// The reading and writing alone: it knows where the bytes are without waiting.
struct Bare {
    readers: Vec<OwnedFd>,
    active: Vec<usize>,
}

fn bare(readers: Vec<OwnedFd>) -> io::Result<Box<dyn Ring>> {
    let mut entries: Vec<_> =
        readers.iter().map(|reader| PollFd::new(reader, PollFlags::IN)).collect();
    poll(&mut entries, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    let ready = |index: &usize| !entries[*index].revents().is_empty();
    let active = (0..readers.len()).filter(ready).collect();
    Ok(Box::new(Bare { readers, active }))
}

impl Ring for Bare {
    fn turn(&mut self, writers: &[OwnedFd]) -> io::Result<u64> {
        for index in &mut self.active {
            pass_on(self.readers[*index].as_fd(), *index, writers)?;
            *index = if *index + 1 < writers.len() { *index + 1 } else { 0 };
        }
        Ok(self.active.len() as u64)
    }
}

/// mio: edge-triggered, the token being the index into the readers; it looks nothing up.
struct Mio {
    poll: mio::Poll,
    readers: Vec<OwnedFd>,
    events: mio::Events,
}

fn mio_ring(readers: Vec<OwnedFd>) -> io::Result<Box<dyn Ring>> {
    let poll = mio::Poll::new()?;
    for (index, reader) in readers.iter().enumerate() {
        let number = reader.as_raw_fd();
        let mut source = mio::unix::SourceFd(&number);
        poll.registry().register(&mut source, mio::Token(index), mio::Interest::READABLE)?;
    }
    Ok(Box::new(Mio { poll, readers, events: mio::Events::with_capacity(CAPACITY) }))
}

impl Ring for Mio {
    fn turn(&mut self, writers: &[OwnedFd]) -> io::Result<u64> {
        self.poll.poll(&mut self.events, None)?;
        let mut count = 0;
        for event in &self.events {
            if event.is_readable() {
                let index = event.token().0;
                pass_on(self.readers[index].as_fd(), index, writers)?;
            }
            count += 1;
        }
        Ok(count)
    }
}

/// Ours: the selector owns the readers, and the index is the data of each.
struct Ours {
    selector: Selector<OwnedFd, u64>,
    events: Events,
}

fn ours(backend: Backend, watch: Watch, readers: Vec<OwnedFd>) -> io::Result<Box<dyn Ring>> {
    let mut selector = Selector::with_backend(backend)?;
    for (index, reader) in readers.into_iter().enumerate() {
        selector.register(reader, watch, index as u64)?;
    }
    Ok(Box::new(Ours { selector, events: Events::with_capacity(CAPACITY) }))
}

fn epoll_level(readers: Vec<OwnedFd>) -> io::Result<Box<dyn Ring>> {
    ours(Backend::Epoll, Interest::READABLE.into(), readers)
}

fn epoll_edge(readers: Vec<OwnedFd>) -> io::Result<Box<dyn Ring>> {
    ours(Backend::Epoll, Interest::READABLE.edge(), readers)
}

fn io_uring_level(readers: Vec<OwnedFd>) -> io::Result<Box<dyn Ring>> {
    ours(Backend::IoUring, Interest::READABLE.into(), readers)
}

fn io_uring_edge(readers: Vec<OwnedFd>) -> io::Result<Box<dyn Ring>> {
    ours(Backend::IoUring, Interest::READABLE.edge(), readers)
}

fn our_mio(readers: Vec<OwnedFd>) -> io::Result<Box<dyn Ring>> {
    ours(Backend::Mio, Interest::READABLE.into(), readers)
}

fn poll_level(readers: Vec<OwnedFd>) -> io::Result<Box<dyn Ring>> {
    ours(Backend::Poll, Interest::READABLE.into(), readers)
}

fn select_level(readers: Vec<OwnedFd>) -> io::Result<Box<dyn Ring>> {
    ours(Backend::Select, Interest::READABLE.into(), readers)
}

impl Ring for Ours {
    fn turn(&mut self, writers: &[OwnedFd]) -> io::Result<u64> {
        self.selector.select(&mut self.events, None)?;
        for event in &self.events {
            if let Some(registration) = self.selector.get(event.key)
                && event.is_readable()
            {
                let index = *registration.data() as usize;
                pass_on(registration.source().as_fd(), index, writers)?;
            }
        }
        Ok(self.events.len() as u64)
    }
}

/// A ring ready to run, with `active` bytes under way.
struct Running {
    ring: Box<dyn Ring>,
    writers: Vec<OwnedFd>,
}

impl Running {
    fn open(contestant: &Contestant, pipes: usize, active: usize) -> io::Result<Self> {
        let (mut readers, mut writers) = (Vec::new(), Vec::new());
        for _ in 0..pipes {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            readers.push(reader);
            writers.push(writer);
        }
        for index in 0..active {
            rustix::io::write(&writers[index * pipes / active], b"x")?;
        }
        Ok(Self { ring: (contestant.open)(readers)?, writers })
    }

    fn run(&mut self, events: u64) -> io::Result<()> {
        let mut done = 0;
        while done < events {
            done += self.ring.turn(&self.writers)?;
        }
        Ok(())
    }
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
                    Running::open(contestant, pipes, active)?.run(args.events)?;
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
            let mut running = Running::open(contestant, pipes, active)?;
            running.run(args.events / 10)?;
            let time = timed(|| running.run(args.events))?;
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
