//! A wait with no other thread beside it: the ring, on one thread.

use std::io;

use polyselect_benches::{Report, alternate, timed};

use crate::Args;
use crate::contestants::{CONTESTANTS, Contestant};

const PIPES: usize = 1000;

/// The first is the reference for the ratios.
const CHOSEN: [&str; 4] = ["epoll", "shared", "polling", "mio"];

pub fn show(args: &Args, report: &mut Report) -> io::Result<()> {
    let find = |name: &str| CONTESTANTS.iter().find(|contestant| contestant.name == name);
    let chosen: Vec<&Contestant> = CHOSEN.iter().filter_map(|name| find(name)).collect();
    for active in [1, 100] {
        let mut runs: Vec<_> = chosen
            .iter()
            .map(|contestant| {
                move || {
                    let mut ring = contestant.open(PIPES, active)?;
                    let time = timed(|| ring.run(args.events))?;
                    Ok([time.as_nanos() as f64 / args.events as f64])
                }
            })
            .collect();
        let results = alternate(args.rounds, &mut runs)?;
        println!("\nwaits, {PIPES} pipes, {active} active");
        report.table(
            &[("active", active as u64)],
            &[("CPU time", "ns an event")],
            chosen.iter().map(|contestant| contestant.name).zip(results),
        )?;
    }
    Ok(())
}
