//! Memory of a registration, counted by the allocator: the lasting bytes, and the peak while a table grows.
//!
//! ```text
//! cargo bench -p polyselect-benches --bench memory
//! ```
//!
//! Every contestant watches duplicates of a pipe's end that never become readable, and keeps the
//! descriptor and eight bytes with each. The contestants differ: raw, mio and polling keep no record, so they
//! have a slab of both, as in a program; tokio (`AsyncFd`) and async-io (`Async`) return
//! an object for each, kept in such a slab; the task that a program would have besides is not
//! counted. calloop has a source and a callback for each, with the eight bytes in it, and so has
//! event-loop+8; event-loop's callback is empty. The others are `Selector<OwnedFd, u64>`.
//!
//! The count is of requested bytes, not of the sizes to which the allocator rounds them up. The memory of the kernel,
//! and rings that are shared with it, are not included. Nothing here is random, so there are no rounds; the ratios are
//! to raw epoll with its slab.

mod registries;

use std::fmt::Write;
use std::io;
use std::os::fd::AsFd;

use clap::Parser;
use peak_alloc::PeakAlloc;
use polyselect_benches::{Common, Report, raise_descriptor_limit};

use registries::{CONTESTANTS, Contestant};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

#[derive(Parser)]
struct Args {
    /// Numbers of registrations at which to count the lasting bytes; the worst is searched up to the last.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 5000, 9900])]
    registrations: Vec<usize>,
    #[command(flatten)]
    common: Common,
}

/// Below that, the fixed cost of a registry would distort the figure of its few registrations.
const LEAST: usize = 500;

fn main() -> io::Result<()> {
    let mut args = Args::parse();
    if args.common.quick {
        args.registrations = vec![1000];
    }
    let limit = raise_descriptor_limit()?;
    let mut stops = args.registrations;
    stops.retain(|&stop| limit.allows(stop));
    stops.sort_unstable();
    let Some(&most) = stops.last() else { return Ok(()) };
    if most < LEAST {
        let message = format!("{most} registrations are too few; give at least {LEAST}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let chosen = args.common.choose(CONTESTANTS, |contestant| contestant.name)?;
    let chosen: Vec<_> = chosen.into_iter().filter(|c| c.needs.is_available()).collect();
    let mut report = Report::new("memory", &args.common)?;

    println!("\nbytes a registration; worst from {LEAST} to {most}");
    let mut heading = format!("{:16}", "");
    for stop in &stops {
        let _ = write!(heading, " {:>9}", format!("at {stop}"));
    }
    println!("{heading} {:>16} {:>16} {:>6}", "worst (at)", "growing (at)", "ratio");
    let mut base: Option<Cost> = None;
    for contestant in chosen {
        let cost = measure(contestant, &stops)?;
        let base = base.get_or_insert_with(|| cost.clone());
        let mut row = format!("{:16}", contestant.name);
        for live in &cost.live {
            let _ = write!(row, " {live:9.1}");
        }
        let (worst, growing) = (cost.worst, cost.growing);
        let ratio = growing.0 / base.growing.0;
        print!("{row} {:7.1} {:>8}", worst.0, format!("({})", worst.1));
        println!(" {:7.1} {:>8} {ratio:6.2}", growing.0, format!("({})", growing.1));

        for (stop, (live, base)) in stops.iter().zip(cost.live.iter().zip(&base.live)) {
            let settings = [("registrations", *stop as u64)];
            report.single(&settings, contestant.name, ("alive", BYTES), *live, *base)?;
        }
        for (quantity, figure, base) in [
            ("alive at worst", worst.0, base.worst.0),
            ("alive at worst while growing", growing.0, base.growing.0),
        ] {
            let settings = [("registrations", most as u64)];
            report.single(&settings, contestant.name, (quantity, BYTES), figure, base)?;
        }
    }
    Ok(())
}

const BYTES: &str = "bytes a registration";

/// Bytes a registration.
#[derive(Clone)]
struct Cost {
    /// Alive at each stop.
    live: Vec<f64>,
    /// Alive where it is most, and how many there were then.
    worst: (f64, usize),
    /// The same for the peak while something grew, when old and new are alive for a moment.
    growing: (f64, usize),
}

fn measure(contestant: &Contestant, stops: &[usize]) -> io::Result<Cost> {
    let (reader, _writer) = io::pipe()?;
    let mut registry = (contestant.open)()?;
    let mut cost = Cost { live: Vec::new(), worst: (0.0, 0), growing: (0.0, 0) };
    let (before, most) = (MEMORY.current_usage(), stops[stops.len() - 1]);
    for count in 1..=most {
        let source = reader.as_fd().try_clone_to_owned()?;
        MEMORY.reset_peak_usage();
        registry.register(source, count as u64)?;
        let each = |bytes: usize| bytes.saturating_sub(before) as f64 / count as f64;
        let (live, peak) = (each(MEMORY.current_usage()), each(MEMORY.peak_usage()));
        if count >= LEAST && live > cost.worst.0 {
            cost.worst = (live, count);
        }
        if count >= LEAST && peak > cost.growing.0 {
            cost.growing = (peak, count);
        }
        if stops.contains(&count) {
            cost.live.push(live);
        }
    }
    Ok(cost)
}
