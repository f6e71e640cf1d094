//! Measures each model: the same echo, served by one process per client, one thread per client,
//! busy polling, `select`, `poll`, `epoll` and the rest, with 1, 100 and many clients. The
//! documents only describe which of them costs more.
//!
//! Each server is a process of its own. Server and clients are pinned to one processor, because the
//! time to wake another processor varies. All clients are connected, and up to 100 of them send 64
//! bytes at a time and wait for the echo. Reported are the server's processor time per request and
//! its memory per client (proportional share of its pages, without kernel memory). Of several rounds
//! the medians are reported.
//!
//! ```text
//! ulimit -n 20000; cargo run --release --example compare -- --rounds 5
//! cargo run --release --example compare -- --clients 1,100 --chart compare.svg
//! ```

#[cfg(target_os = "linux")]
#[path = "../../benches/plot/curves.rs"]
mod curves;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod models;
#[cfg(target_os = "linux")]
#[path = "../../benches/plot/svg.rs"]
mod svg;

#[cfg(target_os = "linux")]
use models::common;

#[cfg(target_os = "linux")]
fn main() -> Result<(), common::Failure> {
    Ok(comparison::main()?)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("what a process costs is read from Linux' /proc");
}

#[cfg(target_os = "linux")]
mod comparison {
    use std::num::NonZeroUsize;
    use std::path::{Path, PathBuf};
    use std::{fs, io};

    use clap::Parser;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

    use super::common::say;
    use super::curves::Curves;
    use super::measure::{Cost, measure};
    use super::models::{MODELS, Model, serve};

    #[derive(Parser)]
    struct Args {
        /// How many clients are connected.
        #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1000, 5000])]
        clients: Vec<usize>,
        /// The number of requests for each figure.
        #[arg(long, default_value_t = 20_000)]
        requests: usize,
        /// The number of measurements of each figure; their median is reported.
        #[arg(long, default_value = "1")]
        rounds: NonZeroUsize,
        /// Only these models.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// The SVG file for the chart.
        #[arg(long, value_name = "FILE")]
        chart: Option<PathBuf>,
        /// Run the server of this model.
        #[arg(long, hide = true)]
        serve: Option<String>,
    }

    /// The servers inherit the processor.
    fn stay_on_one_processor() -> io::Result<()> {
        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        Ok(sched_setaffinity(None, &here)?)
    }

    pub fn main() -> io::Result<()> {
        let args = Args::parse();
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
        if let Some(name) = &args.serve {
            return serve(name);
        }
        stay_on_one_processor()?;
        let mut curves = Vec::new();
        say!("{:22} {:>8} {:>20} {:>20}", "model", "clients", "µs a request", "KiB a client");
        for model in MODELS.iter().filter(|model| model.is_available()) {
            if !args.only.is_empty() && !args.only.iter().any(|name| name == model.name) {
                continue;
            }
            let mut points: Vec<(f64, f64)> = Vec::new();
            for wanted in &args.clients {
                let clients = (*wanted).min(model.most);
                if points.iter().any(|point| point.0 == clients as f64) {
                    continue;
                }
                let Cost { microseconds, kibibytes } = median(model, clients, &args)?;
                say!("{:22} {clients:8} {microseconds:20.1} {kibibytes:20.1}", model.name);
                points.push((clients as f64, microseconds));
            }
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            curves.push((model.name.to_owned(), points));
        }
        args.chart.map_or(Ok(()), |file| draw(&file, curves))
    }

    fn median(model: &Model, clients: usize, args: &Args) -> io::Result<Cost> {
        let rounds = 0..args.rounds.get();
        let costs = rounds.map(|_round| measure(model, clients, args.requests));
        let costs = costs.collect::<io::Result<Vec<_>>>()?;
        let median = |quantity: fn(&Cost) -> f64| {
            let mut sorted: Vec<_> = costs.iter().map(quantity).collect();
            sorted.sort_by(f64::total_cmp);
            sorted[sorted.len() / 2]
        };
        let microseconds = median(|cost| cost.microseconds);
        Ok(Cost { microseconds, kibibytes: median(|cost| cost.kibibytes) })
    }

    fn draw(file: &Path, curves: Vec<(String, Vec<(f64, f64)>)>) -> io::Result<()> {
        let chart = Curves {
            title: "The same echo under each model".to_owned(),
            quantity: "CPU time of the server for a request, µs".to_owned(),
            along: "clients".to_owned(),
            is_log: true,
            base: None,
            curves,
        };
        let named = |error| io::Error::other(format!("{}: {error}", file.display()));
        fs::write(file, chart.draw()).map_err(named)
    }
}
