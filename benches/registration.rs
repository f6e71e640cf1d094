//! Registering, changing and removing many descriptors, each step by itself.
//!
//! ```text
//! cargo bench -p polyselect-benches --bench registration
//! ```
//!
//! `register` includes the wait that follows, because some backends submit registrations with it; so does `modify`.
//! `cancels out` is a change that is reverted before the wait; raw epoll, mio and polling do not defer changes, so for
//! them it is two changes. Nothing is ready at any time. Times are CPU time of the process per descriptor, and the
//! ratios are to raw epoll in the same round.
//!
//! The contestants differ: raw epoll, mio (edge-triggered) and polling (level-triggered) keep no record of
//! registrations; the others are this crate's selector, level-triggered, which owns the sources and
//! eight bytes of data for each.

#![allow(unsafe_code)] // polling's `add` trusts the caller not to close what is registered.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use clap::Parser;
use polyselect::{Backend, Events, Interest, Key, Selector};
use polyselect_benches::{Common, Report, alternate, raise_descriptor_limit, timed};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

#[derive(Parser)]
struct Args {
    /// How many descriptors.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 9900])]
    descriptors: Vec<usize>,
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    #[command(flatten)]
    common: Common,
}

/// An eventfd at zero: never readable, and no contestant watches whether it is writable.
type Source = OwnedFd;

trait Registry {
    fn register(&mut self, sources: &mut Vec<Source>) -> io::Result<()>;
    fn look(&mut self) -> io::Result<()>;
    /// Changes the interest from data to priority data, or back.
    fn modify(&mut self) -> io::Result<()>;
    fn unregister(&mut self, sources: &mut Vec<Source>) -> io::Result<()>;
}

const OPERATIONS: [&str; 5] =
    ["register", "unregister", "register + unregister", "modify", "cancels out"];

fn main() -> io::Result<()> {
    let mut args = Args::parse();
    if args.common.quick {
        (args.descriptors, args.rounds) = (vec![100], 1);
    }
    let limit = raise_descriptor_limit()?;
    let is_available = |c: &&Contestant| c.backend.is_none_or(Backend::is_available);
    let chosen = args.common.choose(CONTESTANTS, |contestant| contestant.name)?;
    let chosen: Vec<_> = chosen.into_iter().filter(is_available).collect();
    let mut report = Report::new("registration", &args.common)?;
    for &count in args.descriptors.iter().filter(|&&count| limit.allows(count)) {
        println!("\n{count} descriptors");
        let mut runs: Vec<_> = chosen
            .iter()
            .map(|contestant| {
                move || Ok(run(contestant.open, count)?.map(|time| time / count as f64))
            })
            .collect();
        let results = alternate(args.rounds, &mut runs)?;
        for (index, operation) in OPERATIONS.iter().enumerate() {
            let rows = chosen.iter().zip(&results).map(|(c, results)| (c.name, [results[index]]));
            let settings = [("descriptors", count as u64)];
            report.table(&settings, &[(operation, "ns each")], rows)?;
        }
    }
    Ok(())
}

type Open = fn() -> io::Result<Box<dyn Registry>>;

struct Contestant {
    name: &'static str,
    open: Open,
    /// The backend that the system may lack.
    backend: Option<Backend>,
}

const fn ours_on(name: &'static str, open: Open, backend: Backend) -> Contestant {
    Contestant { name, open, backend: Some(backend) }
}

const CONTESTANTS: &[Contestant] = &[
    Contestant { name: "raw", open: raw, backend: None },
    Contestant { name: "mio", open: mio_registry, backend: None },
    Contestant { name: "polling", open: polling_registry, backend: None },
    ours_on("epoll", || ours(Backend::Epoll), Backend::Epoll),
    ours_on("io_uring", || ours(Backend::IoUring), Backend::IoUring),
    ours_on("our-mio", || ours(Backend::Mio), Backend::Mio),
    ours_on("poll", || ours(Backend::Poll), Backend::Poll),
    ours_on("select", || ours(Backend::Select), Backend::Select),
];

/// Nanoseconds of each operation over all descriptors.
fn run(open: Open, count: usize) -> io::Result<[f64; 5]> {
    let mut registry = open()?;
    let mut sources = Vec::with_capacity(count);
    for _ in 0..count {
        sources.push(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    }
    let register = timed(|| {
        registry.register(&mut sources)?;
        registry.look()
    })?;
    let modify = timed(|| {
        registry.modify()?;
        registry.look()
    })?;
    registry.modify()?;
    registry.look()?;
    let cancel = timed(|| {
        registry.modify()?;
        registry.modify()?;
        registry.look()
    })?;
    let unregister = timed(|| registry.unregister(&mut sources))?;
    let times = [register, unregister, register + unregister, modify, cancel];
    Ok(times.map(|time| time.as_nanos() as f64))
}

struct Raw {
    epoll: OwnedFd,
    sources: Vec<Source>,
    priority: bool,
}

fn raw() -> io::Result<Box<dyn Registry>> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    Ok(Box::new(Raw { epoll, sources: Vec::new(), priority: false }))
}

impl Registry for Raw {
    fn register(&mut self, sources: &mut Vec<Source>) -> io::Result<()> {
        for (index, source) in sources.iter().enumerate() {
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&self.epoll, source, data, epoll::EventFlags::IN)?;
        }
        self.sources.append(sources);
        Ok(())
    }

    fn look(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(1024);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&now))?;
        Ok(())
    }

    fn modify(&mut self) -> io::Result<()> {
        self.priority = !self.priority;
        // An eventfd never has priority data, so nothing is ready with either interest.
        let flags = if self.priority { epoll::EventFlags::PRI } else { epoll::EventFlags::IN };
        for (index, source) in self.sources.iter().enumerate() {
            epoll::modify(&self.epoll, source, epoll::EventData::new_u64(index as u64), flags)?;
        }
        Ok(())
    }

    fn unregister(&mut self, sources: &mut Vec<Source>) -> io::Result<()> {
        for source in &self.sources {
            epoll::delete(&self.epoll, source)?;
        }
        sources.append(&mut self.sources);
        Ok(())
    }
}

struct Mio {
    poll: mio::Poll,
    sources: Vec<Source>,
    priority: bool,
}

fn mio_registry() -> io::Result<Box<dyn Registry>> {
    Ok(Box::new(Mio { poll: mio::Poll::new()?, sources: Vec::new(), priority: false }))
}

impl Registry for Mio {
    fn register(&mut self, sources: &mut Vec<Source>) -> io::Result<()> {
        for (index, source) in sources.iter().enumerate() {
            let number = source.as_raw_fd();
            let mut source = mio::unix::SourceFd(&number);
            let interest = mio::Interest::READABLE;
            self.poll.registry().register(&mut source, mio::Token(index), interest)?;
        }
        self.sources.append(sources);
        Ok(())
    }

    fn look(&mut self) -> io::Result<()> {
        let mut events = mio::Events::with_capacity(1024);
        self.poll.poll(&mut events, Some(Duration::ZERO))
    }

    fn modify(&mut self) -> io::Result<()> {
        self.priority = !self.priority;
        let interest =
            if self.priority { mio::Interest::PRIORITY } else { mio::Interest::READABLE };
        for (index, source) in self.sources.iter().enumerate() {
            let number = source.as_raw_fd();
            let mut source = mio::unix::SourceFd(&number);
            self.poll.registry().reregister(&mut source, mio::Token(index), interest)?;
        }
        Ok(())
    }

    fn unregister(&mut self, sources: &mut Vec<Source>) -> io::Result<()> {
        for source in &self.sources {
            let number = source.as_raw_fd();
            self.poll.registry().deregister(&mut mio::unix::SourceFd(&number))?;
        }
        sources.append(&mut self.sources);
        Ok(())
    }
}

struct Polling {
    poller: polling::Poller,
    events: polling::Events,
    sources: Vec<Source>,
    priority: bool,
}

fn polling_registry() -> io::Result<Box<dyn Registry>> {
    let events = polling::Events::with_capacity(NonZeroUsize::new(1024).expect("is not zero"));
    let poller = polling::Poller::new()?;
    Ok(Box::new(Polling { poller, events, sources: Vec::new(), priority: false }))
}

impl Registry for Polling {
    fn register(&mut self, sources: &mut Vec<Source>) -> io::Result<()> {
        for (index, source) in sources.iter().enumerate() {
            let event = polling::Event::readable(index);
            // SAFETY: the sources are dropped after the poller, the field before them.
            unsafe { self.poller.add_with_mode(source, event, polling::PollMode::Level)? };
        }
        self.sources.append(sources);
        Ok(())
    }

    fn look(&mut self) -> io::Result<()> {
        self.events.clear();
        self.poller.wait(&mut self.events, Some(Duration::ZERO)).map(drop)
    }

    fn modify(&mut self) -> io::Result<()> {
        self.priority = !self.priority;
        for (index, source) in self.sources.iter().enumerate() {
            let event = match self.priority {
                true => polling::Event::none(index).with_priority(),
                false => polling::Event::readable(index),
            };
            self.poller.modify_with_mode(source, event, polling::PollMode::Level)?;
        }
        Ok(())
    }

    fn unregister(&mut self, sources: &mut Vec<Source>) -> io::Result<()> {
        for source in &self.sources {
            self.poller.delete(source)?;
        }
        sources.append(&mut self.sources);
        Ok(())
    }
}

struct Ours {
    selector: Selector<Source, u64>,
    events: Events,
    keys: Vec<Key>,
    priority: bool,
}

fn ours(backend: Backend) -> io::Result<Box<dyn Registry>> {
    let selector = Selector::with_backend(backend)?;
    let events = Events::with_capacity(1024);
    Ok(Box::new(Ours { selector, events, keys: Vec::new(), priority: false }))
}

impl Registry for Ours {
    fn register(&mut self, sources: &mut Vec<Source>) -> io::Result<()> {
        for (index, source) in sources.drain(..).enumerate() {
            self.keys.push(self.selector.register(source, Interest::READABLE, index as u64)?);
        }
        Ok(())
    }

    fn look(&mut self) -> io::Result<()> {
        self.selector.select(&mut self.events, Duration::ZERO).map(drop)
    }

    fn modify(&mut self) -> io::Result<()> {
        self.priority = !self.priority;
        let interest = if self.priority { Interest::PRIORITY } else { Interest::READABLE };
        for &key in &self.keys {
            self.selector.modify(key, interest)?;
        }
        Ok(())
    }

    fn unregister(&mut self, sources: &mut Vec<Source>) -> io::Result<()> {
        for key in self.keys.drain(..) {
            sources.push(self.selector.unregister(key)?.into_parts().0);
        }
        Ok(())
    }
}
