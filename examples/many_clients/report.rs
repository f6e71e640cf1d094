//! The results.

use std::io;
use std::time::{Duration, Instant};
use std::{fmt, fmt::Display};

/// The number of failures that are printed; they tend to be alike.
const SHOWN: u64 = 10;

pub(crate) struct Report {
    /// The time that each connection took to open.
    pub(crate) connects: Vec<Duration>,
    /// The time from sending each message to its reply.
    pub(crate) replies: Vec<Duration>,
    failures: u64,
    since: Instant,
}

impl Default for Report {
    fn default() -> Self {
        Self { connects: Vec::new(), replies: Vec::new(), failures: 0, since: Instant::now() }
    }
}

impl Report {
    /// Counts a client that failed.
    pub(crate) fn fail(&mut self, client: &str, error: &io::Error) {
        self.failures += 1;
        if self.failures <= SHOWN {
            log::warn!("{client}: {error}");
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.failures == 0
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (connects, replies, seconds) =
            (self.connects.len(), self.replies.len(), self.since.elapsed().as_secs_f64());
        writeln!(
            f,
            "{connects} clients connected, {replies} replies verified, {} clients failed, \
             in {seconds:.3} s",
            self.failures
        )?;
        writeln!(f, "{:9}{:>12}{:>12}{:>12}{:>12}", "", "p50", "p90", "p99", "max")?;
        for (name, times) in [("connect", &self.connects), ("reply", &self.replies)] {
            let mut times = times.clone();
            times.sort_unstable();
            write!(f, "{name:9}")?;
            for percent in [50, 90, 99, 100] {
                let time = percentile(&times, percent).map_or("-".to_owned(), |time| {
                    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
                });
                write!(f, "{time:>12}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// The smallest of the sorted times that at least this percentage do not exceed.
fn percentile(times: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (times.len() * percent).div_ceil(100);
    times.get(rank.saturating_sub(1)).copied()
}
