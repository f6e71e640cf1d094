//! A selector that several threads use: the costs of changes beside a thread that waits, of a wait without
//! other threads, and of an echo server whose tasks run on two threads.
//!
//! ```text
//! cargo bench -p polyselect-benches --bench shared
//! cargo bench -p polyselect-benches --bench shared -- --part echo --rounds 21
//! cargo bench -p polyselect-benches --bench shared -- --part changes --only polling,epoll
//! ```
//!
//! - `changes`: one thread waits without a timeout. Another registers and unregisters an eventfd, many times in
//!   a row and with a pause before each pair, in which the waiting thread falls asleep; and it arms a
//!   one-shot that is ready, until the waiting thread has returned from its wait with the event. Wall time is
//!   measured in the changing thread (the latency: until the waiting thread has its event), CPU time is that
//!   of the process without the pauses. polling and mio keep no record of sources, and mio is edge-triggered.
//! - `waits`: the ring of the benchmark `ring`, on one thread, against `Selector`.
//! - `echo`: 100 connections, the generator in a process of its own on the same processors. One task for each
//!   connection, which reads into a buffer of its own and writes back. async-executor runs the tasks on two
//!   threads, which wait by turns (`turns`) or leave waiting to a third one (`thread`); tokio has two workers.
//!   The reactor is that of the example `thread_reactor`. `per-core` has no tasks: two event loops with callbacks,
//!   on a thread each, and half of the connections for each.

mod changes;
#[allow(dead_code)] // This benchmark does not use all of it.
#[path = "../ring/contestants/mod.rs"]
mod contestants;
#[path = "../echo/generator.rs"]
mod generator;
#[allow(dead_code)]
#[path = "../echo/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../../examples/thread_reactor/reactor.rs"]
mod reactor;
mod servers;
mod subjects;
mod waits;
#[path = "../../examples/thread_reactor/worker.rs"]
mod worker;

use std::io;

use clap::{Parser, ValueEnum};
use polyselect_benches::{Common, Report, alternate, raise_descriptor_limit};

use generator::Load;
use process::Server;
use servers::Contestant;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Changes,
    Waits,
    Echo,
}

#[derive(Parser)]
struct Args {
    #[arg(long, value_delimiter = ',', default_values_t = [Part::Changes, Part::Waits, Part::Echo])]
    part: Vec<Part>,
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Pairs of changes in a row; of those apart, and of armings, there are a tenth.
    #[arg(long, default_value_t = 20_000)]
    changes: u32,
    /// Events in each run of the ring.
    #[arg(long, default_value_t = 60_000)]
    events: u64,
    /// Messages in each run of the echo.
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    #[arg(long, value_delimiter = ',', default_values_t = [100])]
    connections: Vec<usize>,
    /// Serve, with this contestant.
    #[arg(long, hide = true)]
    serve: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.to_possible_value().expect("none is skipped").get_name().fmt(f)
    }
}

fn main() -> io::Result<()> {
    let mut args = Args::parse();
    if args.common.quick {
        (args.rounds, args.changes, args.events, args.messages) = (1, 500, 2000, 2000);
    }
    raise_descriptor_limit()?;
    if let Some(name) = &args.serve {
        let contestant = servers::CONTESTANTS.iter().find(|contestant| contestant.name == name);
        let contestant = contestant.ok_or_else(|| io::Error::other("the server is unknown"))?;
        return process::serve(contestant, args.connections[0]);
    }
    let mut report = Report::new("shared", &args.common)?;
    for part in &args.part {
        match part {
            Part::Changes => subjects::show(&args, &mut report)?,
            Part::Waits => waits::show(&args, &mut report)?,
            Part::Echo => echo(&args, &mut report)?,
        }
    }
    Ok(())
}

fn echo(args: &Args, report: &mut Report) -> io::Result<()> {
    let chosen = args.common.choose(servers::CONTESTANTS, |contestant| contestant.name);
    // The names may be of another part.
    let chosen = chosen.unwrap_or_else(|_| servers::CONTESTANTS.iter().collect());
    for &connections in &args.connections {
        let mut runs: Vec<_> = chosen
            .iter()
            .map(|contestant| move || serve_and_load(contestant, connections, args.messages))
            .collect();
        let results = alternate(args.rounds, &mut runs)?;
        println!("\necho, {connections} connections, 64 bytes, {} messages", args.messages);
        report.table(
            &[("connections", connections as u64)],
            &[("messages", "a second"), ("CPU time", "ns a message")],
            chosen.iter().map(|contestant| contestant.name).zip(results),
        )?;
    }
    Ok(())
}

/// Messages a second, and the nanoseconds of the server's CPU time that each takes.
fn serve_and_load(
    contestant: &Contestant,
    connections: usize,
    messages: u64,
) -> io::Result<[f64; 2]> {
    let server = Server::start(contestant, connections)?;
    let mut clients = Load::connect(server.address, connections, 64, 1)?;
    clients.run(messages / 10)?;
    let before = server.cpu_time()?;
    let wall = clients.run(messages)?;
    let cpu = server.cpu_time()? - before;
    drop(clients);
    server.finish()?;
    let messages = messages as f64;
    Ok([messages / wall.as_secs_f64(), cpu.as_nanos() as f64 / messages])
}
