//! Measures each model: the same echo, served by one process per client, one thread per client,
//! busy polling, `select`, `poll`, `epoll` and the rest, with 1, 100 and many clients. The
//! documents only describe which of them costs more.
//!
//! Each server is a process of its own. Server and clients are pinned to one processor, because the
//! time to wake another processor varies. All clients are connected, and up to 100 of them send 64
//! bytes at a time and wait for the echo. Reported are the server's processor time per request and
//! its memory per client (proportional share of its pages, without kernel memory).
//!
//! ```text
//! ulimit -n 20000; cargo run --release --example compare
//! cargo run --release --example compare -- --clients 1,100 --chart compare.svg
//! ```

#[cfg(target_os = "linux")]
mod chart;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod models;

#[cfg(target_os = "linux")]
fn main() -> Result<(), models::common::Failure> {
    Ok(comparison::main()?)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("what a process costs is read from Linux' /proc");
}

#[cfg(target_os = "linux")]
mod comparison {
    use std::io;
    use std::path::PathBuf;

    use clap::Parser;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

    use super::chart;
    use super::measure::{Cost, measure};
    use super::models::{MODELS, Model, serve};

    #[derive(Parser)]
    struct Args {
        /// How many clients are connected.
        #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 5000])]
        clients: Vec<usize>,
        /// The number of requests for each figure.
        #[arg(long, default_value_t = 20_000)]
        requests: usize,
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

    pub struct Row {
        pub model: &'static Model,
        pub clients: usize,
        pub cost: Cost,
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
        let mut rows = Vec::new();
        println!("{:22} {:>8} {:>20} {:>20}", "model", "clients", "µs a request", "KiB a client");
        for model in MODELS.iter().filter(|model| model.is_available()) {
            if !args.only.is_empty() && !args.only.iter().any(|name| name == model.name) {
                continue;
            }
            let mut done = Vec::new();
            for wanted in &args.clients {
                let clients = (*wanted).min(model.most);
                if done.contains(&clients) {
                    continue;
                }
                done.push(clients);
                let cost = measure(model, clients, args.requests)?;
                let Cost { microseconds, kibibytes } = cost;
                println!("{:22} {clients:8} {microseconds:20.1} {kibibytes:20.1}", model.name);
                rows.push(Row { model, clients, cost });
            }
        }
        match &args.chart {
            Some(file) => chart::draw(file, &rows),
            None => Ok(()),
        }
    }
}
