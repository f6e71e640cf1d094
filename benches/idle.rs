//! The cost of idle descriptors for active ones: the ring with few pipes and with many, and the same number of active
//! pipes.
//!
//! ```text
//! cargo bench -p polyselect-benches --bench idle
//! ```
//!
//! The growth is the CPU time of an event with many pipes, less that with few, in the same round. It
//! has unavoidable causes: each byte goes to another pipe, and many pipes use more memory than few. Raw epoll has them
//! too; `beyond raw` is the additional growth of a contestant. The ring lists the other differences. poll and select,
//! whose waits walk all registrations, run only if `--only` names them.

#[allow(dead_code)] // The benchmark does not use all of it.
#[path = "ring/contestants/mod.rs"]
mod contestants;

use std::io;

use clap::Parser;
use polyselect_benches::{
    Common, Report, Spread, compare, figure, raise_descriptor_limit, rounds, timed,
};

use contestants::{CONTESTANTS, Contestant};

#[derive(Parser)]
struct Args {
    /// The smaller number of pipes.
    #[arg(long, default_value_t = 100)]
    few: usize,
    /// The larger number of pipes.
    #[arg(long, default_value_t = 9900)]
    many: usize,
    /// Bytes in transit, at most the smaller number of pipes.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100])]
    active: Vec<usize>,
    /// Events in each run.
    #[arg(long, default_value_t = 60_000)]
    events: u64,
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Run one contestant once with this number of pipes, and print the cost of an event.
    #[arg(long, hide = true)]
    timed: Option<usize>,
    #[command(flatten)]
    common: Common,
}

fn main() -> io::Result<()> {
    let mut args = Args::parse();
    if args.common.quick {
        (args.many, args.events, args.rounds) = (1000, 2000, 1);
    }
    let limit = raise_descriptor_limit()?;
    if !limit.allows(2 * args.few.max(args.many)) {
        return Ok(());
    }
    if let Some(active) = args.active.iter().find(|&&active| active > args.few.min(args.many)) {
        let message = format!("{active} bytes in transit do not fit {} pipes", args.few);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let chosen = args.common.choose(CONTESTANTS, |contestant| contestant.name)?;
    let affordable =
        |c: &&Contestant| c.is_available() && (!c.walks || !args.common.only.is_empty());
    let chosen: Vec<_> = chosen.into_iter().filter(affordable).collect();
    if let Some(pipes) = args.timed {
        // The first is the base; skip it, unless it is alone.
        println!("{}", event(chosen[chosen.len() - 1], pipes, args.active[0], args.events)?);
        return Ok(());
    }
    let mut report = Report::new("idle", &args.common)?;
    for &active in &args.active {
        show(&chosen, active, &args, &mut report)?;
    }
    Ok(())
}

fn event(contestant: &Contestant, pipes: usize, active: usize, events: u64) -> io::Result<f64> {
    let mut ring = contestant.open(pipes, active)?;
    let time = timed(|| ring.run(events))?;
    Ok(time.as_nanos() as f64 / events as f64)
}

fn show(
    chosen: &[&'static Contestant],
    active: usize,
    args: &Args,
    report: &mut Report,
) -> io::Result<()> {
    let mut runs: Vec<_> = chosen
        .iter()
        .map(|contestant| {
            let time = move |pipes: usize| {
                let (pipes, active) = (pipes.to_string(), active.to_string());
                let events = args.events.to_string();
                let arguments = ["--timed", &pipes, "--active", &active, "--events", &events];
                let more = ["--only", contestant.name];
                figure(&arguments.into_iter().chain(more).map(str::to_owned).collect::<Vec<_>>())
            };
            move || Ok([time(args.few)?, time(args.many)?])
        })
        .collect();
    let figures = rounds(args.rounds, &mut runs)?;
    let growth = |[few, many]: &[f64; 2]| many - few;
    println!("\nCPU time of an event in ns, {} and {} pipes, {active} active", args.few, args.many);
    println!(
        "{:16} {:>8} {:>8} {:>8}   {:>30}",
        "", args.few, args.many, "growth", "beyond raw: min median max"
    );
    for ((contestant, of), compared) in chosen.iter().zip(&figures).zip(compare(&figures)) {
        let grown = Spread::of(of.iter().map(growth).collect());
        let beyond = of.iter().zip(&figures[0]).map(|(of, raw)| growth(of) - growth(raw));
        let beyond = Spread::of(beyond.collect());
        let [few, many] = compared;
        println!(
            "{:16} {:8.1} {:8.1} {:8.1}   {:14.1} {:7.1} {:7.1}",
            contestant.name,
            few.cost.median,
            many.cost.median,
            grown.median,
            beyond.min,
            beyond.median,
            beyond.max
        );
        for (pipes, compared) in [(args.few, few), (args.many, many)] {
            let settings = [("pipes", pipes as u64), ("active", active as u64)];
            report.record_only(
                &settings,
                contestant.name,
                ("CPU time", "ns an event"),
                &compared,
            )?;
        }
        let settings = [("active", active as u64)];
        for (quantity, spread) in [("growth", grown), ("growth beyond raw", beyond)] {
            let quantity = (quantity, "ns an event");
            report.record_difference(&settings, contestant.name, quantity, &spread)?;
        }
    }
    Ok(())
}
