//! What the benchmarks share: CPU time, instructions and system calls, and rounds that alternate.

use std::io;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// User and system time that this process has used so far.
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// CPU time of `work`.
pub fn timed(work: impl FnOnce() -> io::Result<()>) -> io::Result<Duration> {
    let before = cpu_time();
    work()?;
    Ok(cpu_time() - before)
}

/// Lets the process open as many descriptors as the system allows it to.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

/// Lowest, median and highest of some figures.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The lowest.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The highest.
    pub max: f64,
}

impl Spread {
    /// Sorts the figures; there must be one at least.
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        Self {
            min: figures[0],
            median: figures[figures.len() / 2],
            max: figures[figures.len() - 1],
        }
    }
}

/// One column of a comparison: the cost a unit in each round, and its ratio to the first column's
/// in the same round.
#[derive(Debug)]
pub struct Compared {
    /// Of the column itself.
    pub cost: Spread,
    /// To the first column, round by round.
    pub ratio: Spread,
}

/// Runs all in turn, for so many rounds after one that does not count, and compares them to the
/// first. What a call returns is the cost of one unit of work.
pub fn alternate(
    rounds: usize,
    contestants: &mut [impl FnMut() -> io::Result<f64>],
) -> io::Result<Vec<Compared>> {
    let mut costs = vec![Vec::with_capacity(rounds); contestants.len()];
    for round in 0..=rounds {
        for (contestant, costs) in contestants.iter_mut().zip(&mut costs) {
            let cost = contestant()?;
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    let base = costs[0].clone();
    Ok(costs
        .into_iter()
        .map(|costs| {
            let ratios = costs.iter().zip(&base).map(|(cost, base)| cost / base).collect();
            Compared { cost: Spread::of(costs), ratio: Spread::of(ratios) }
        })
        .collect())
}

/// User-space instructions that this program executes with these arguments, as callgrind counts
/// them; `None` where valgrind is not installed.
pub fn instructions(arguments: &[String]) -> io::Result<Option<u64>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(arguments)
        .output();
    let output = match output {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        output => output?,
    };
    let report = String::from_utf8_lossy(&output.stderr);
    let total = report.lines().find_map(|line| line.split_once("Collected :"));
    match total.and_then(|(_, total)| total.trim().parse().ok()) {
        Some(total) if output.status.success() => Ok(Some(total)),
        _ => Err(io::Error::other(format!("callgrind: {report}"))),
    }
}

/// System calls that this program makes with these arguments, by name, as strace counts them;
/// `None` where strace is not installed.
pub fn system_calls(arguments: &[String]) -> io::Result<Option<Vec<(String, u64)>>> {
    let output = Command::new("strace")
        .args(["-f", "-c", "-U", "name,calls", "--"])
        .arg(std::env::current_exe()?)
        .args(arguments)
        .output();
    let output = match output {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        output => output?,
    };
    let report = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(io::Error::other(format!("strace: {report}")));
    }
    let rows = report.lines().filter_map(|line| {
        let (name, calls) = line.trim().split_once(char::is_whitespace)?;
        Some((name.to_owned(), calls.trim().parse().ok()?))
    });
    Ok(Some(rows.filter(|(name, _)| name != "total").collect()))
}
