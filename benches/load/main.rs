//! A load test of the loop: as many connections as the system allows, with every echoed byte checked, while clients
//! come and go; and a check that nothing leaks.
//!
//! ```text
//! ulimit -Hn                                        # must be somewhat more than the connections
//! cargo bench -p polyselect-benches --bench load -- --connections 19000 --seconds 300 --only epoll,io_uring,mio
//! cargo bench -p polyselect-benches --bench load -- --round-trips 10,100,1000,10000,19000
//! ```
//!
//! The server is an `EventLoop` in a separate process. It listens with `EventLoop::accept`; each connection has a
//! `WriteQueue` and an idle timer, which is set on accept, reset by each message, and cancelled at the end.
//! `coroutines` is the same with a task and a `timeout` for each connection.
//!
//! The number of connections stays the same: when a client leaves, another one connects. Clients send messages of 1 to
//! 300,000 bytes, each after the reply to the last, with bytes that depend on the connection and on the position in its
//! stream, and compare the reply. They leave by a close, a half-close, a reset, or a close or reset in the middle of a
//! message, after up to 100 messages or without any; some fall silent, until the server's timer ends them.
//!
//! Clients come and go for a tenth of the time before the first report, and the server sleeps for a moment meanwhile,
//! so that its tables grow to the size for all connections being ready at the same time. At the end the server reports
//! again. Its descriptors, timers and registrations must be the same as before, and its heap may have grown by 16 KiB,
//! 32 bytes for each simultaneous connection, and a byte for each connection that was served. If it is larger, the run
//! is repeated; the third time in a row is a failure. A wrong byte, a lost reply, an end that is early or missing, an
//! error in the server, and any other leak fail immediately, with a message.
//!
//! `--round-trips` measures the time in which one client gets its reply among silent ones, with each number of silent
//! clients, as a ratio to the first number.

mod client;
mod clients;
mod report;
mod round_trips;
mod servers;

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use peak_alloc::PeakAlloc;
use polyselect_benches::{Common, ServerProcess, raise_descriptor_limit};

use client::Tally;
use clients::Clients;
use report::Report;
use servers::{CONTESTANTS, Contestant};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 5000,
        value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,
    /// How long clients come and go.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// How long the server lets a connection be idle, in seconds.
    #[arg(long, default_value_t = 10.0)]
    idle: f64,
    /// Measure round trips instead, with these numbers of connections, in this order.
    #[arg(long, value_delimiter = ',')]
    round_trips: Vec<usize>,
    /// Serve, with this contestant.
    #[arg(long, hide = true)]
    serve: Option<String>,
    #[command(flatten)]
    common: Common,
}

fn main() -> io::Result<()> {
    let mut args = Args::parse();
    if args.common.quick {
        (args.connections, args.seconds, args.idle) = (300, 1.0, 1.0);
    }
    let limit = raise_descriptor_limit()?;
    let seconds = |name: &str, seconds| {
        Duration::try_from_secs_f64(seconds).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("--{name}: {error}"))
        })
    };
    let (length, idle) = (seconds("seconds", args.seconds)?, seconds("idle", args.idle)?);
    if let Some(name) = &args.serve {
        let contestant = CONTESTANTS.iter().find(|contestant| contestant.name == name);
        let contestant = contestant.ok_or_else(|| io::Error::other("the server is unknown"))?;
        return servers::serve(contestant, idle);
    }
    let connections = usize::try_from(args.connections).map_err(io::Error::other)?;
    let most = args.round_trips.iter().copied().max().unwrap_or(connections);
    if !limit.allows(most) {
        return Ok(());
    }
    let chosen = args.common.named(CONTESTANTS, |contestant| contestant.name)?;
    for contestant in chosen {
        if !contestant.backend.is_available() {
            println!("\nskipped: {} is not available on this system", contestant.name);
            continue;
        }
        let done = if args.round_trips.is_empty() {
            run(contestant, connections, length, idle)
        } else {
            compare_round_trips(contestant, &args.round_trips)
        };
        let name = contestant.name;
        done.map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
    }
    Ok(())
}

/// The server, and where it listens.
fn start(contestant: &Contestant, idle: Duration) -> io::Result<(ServerProcess, Vec<SocketAddr>)> {
    let idle = idle.as_secs_f64().to_string();
    let arguments = ["--serve", contestant.name, "--idle", &idle].map(str::to_owned);
    let (server, addresses) = ServerProcess::start(contestant.name, &arguments)?;
    let addresses: Result<_, _> = addresses.split(' ').map(str::parse).collect();
    Ok((server, addresses.map_err(io::Error::other)?))
}

fn run(
    contestant: &Contestant,
    connections: usize,
    length: Duration,
    idle: Duration,
) -> io::Result<()> {
    let (mut server, addresses) = start(contestant, idle)?;
    // Descriptors that its first iteration opens are there in the second.
    server.ask("report")?;
    let fresh: Report = server.ask("report")?.parse()?;
    let mut clients = Clients::new(addresses, connections, idle)?;
    // All clients send while the server sleeps, so that its lists reach their greatest length.
    clients.run(length / 10, || server.tell("sleep"))?;
    let mut before = report_when_settled(&mut server)?;
    let mut grown = Vec::new();
    while grown.len() < LEAKS {
        let start = Instant::now();
        let tally = clients.run(length, || Ok(()))?;
        let took = start.elapsed();
        let after = report_when_settled(&mut server)?;
        show(contestant, connections, took, &tally, [&fresh, &before, &after]);
        check(&fresh, &before, &after)?;
        if tally.too_slow > 0 && idle >= PATIENT {
            let message = format!("{} had to wait for longer than {idle:?}", tally.too_slow);
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        match growth(&before, &after) {
            None => return server.finish(),
            Some(bytes) => grown.push(bytes),
        }
        before = after;
    }
    Err(io::Error::other(format!("the heap has grown by {grown:?} bytes")))
}

/// Returns the report of the server after it has removed all connections.
fn report_when_settled(server: &mut ServerProcess) -> io::Result<Report> {
    /// The timer of a paused listener is shorter than this.
    const REST: Duration = Duration::from_millis(300);
    let patience = Instant::now() + Duration::from_secs(20);
    let mut all_gone = None;
    loop {
        let report: Report = server.ask("report")?.parse()?;
        let now = Instant::now();
        if report.open == 0 {
            let since = *all_gone.get_or_insert(now);
            if report.timers == 0 || now > since + REST {
                return Ok(report);
            }
        } else if now > patience {
            return Ok(report);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn show(
    contestant: &Contestant,
    connections: usize,
    took: Duration,
    tally: &Tally,
    [fresh, before, after]: [&Report; 3],
) {
    let Tally { opened, messages, bytes, longest_wait, left, too_slow } = tally;
    println!("\n{}, {connections} connections for {:.1} s", contestant.name, took.as_secs_f64());
    println!(
        "  {opened} connections made, {messages} messages answered, {} MB, short ones within {:.1} s",
        bytes / 1_000_000,
        longest_wait.as_secs_f64()
    );
    let left: Vec<_> = left.iter().map(|(manner, count)| format!("{manner} {count}")).collect();
    println!("  left: {}, ended while active {too_slow}", left.join(", "));
    println!(
        "  server: {} accepted, at most {} at once, {} ended by their timers, {} found reset, \
         {} writes had to wait",
        after.accepted - before.accepted,
        after.peak,
        after.idled - before.idled,
        after.reset - before.reset,
        after.queued - before.queued,
    );
    for (when, report) in [("fresh", fresh), ("before", before), ("after", after)] {
        let Report { descriptors, timers, sources, heap, resident, .. } = report;
        println!(
            "  {when:6}  descriptors {descriptors}, timers {timers}, sources {sources}, \
             heap {heap} bytes, resident {resident} KiB"
        );
    }
}

/// With a shorter time, a busy machine would be a cause of delays.
const PATIENT: Duration = Duration::from_secs(5);

/// Returns the growth of the heap if it exceeds the allowance: a constant and bytes for each simultaneous connection,
/// for the lists of ready sources, and for each served connection less than any leak could be.
fn growth(before: &Report, after: &Report) -> Option<u64> {
    const LISTS: u64 = 16 * 1024;
    const LISTS_A_CONNECTION: u64 = 32;
    let grown = after.heap.saturating_sub(before.heap);
    let served = after.accepted - before.accepted;
    (grown > LISTS + LISTS_A_CONNECTION * after.peak + served).then_some(grown)
}

/// The longest iteration may come late, and once; a leak repeats in each run.
const LEAKS: usize = 3;

fn check(fresh: &Report, before: &Report, after: &Report) -> io::Result<()> {
    let mut wrong = Vec::new();
    for (what, [fresh, before, after]) in [
        ("descriptors", [fresh, before, after].map(|report| report.descriptors)),
        ("timers", [fresh, before, after].map(|report| report.timers)),
        ("registrations", [fresh, before, after].map(|report| report.sources)),
    ] {
        if before != fresh || after != fresh {
            wrong.push(format!("{what}: {fresh} at first, {before} later, {after} in the end"));
        }
    }
    if after.failed > 0 {
        wrong.push(format!("{} errors in the server", after.failed));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(io::Error::other(format!("something is left over: {}", wrong.join("; "))))
}

fn compare_round_trips(contestant: &Contestant, connections: &[usize]) -> io::Result<()> {
    const LONGER_THAN_IT_TAKES: Duration = Duration::from_secs(3600);
    let (server, addresses) = start(contestant, LONGER_THAN_IT_TAKES)?;
    let medians = round_trips::round_trips(&addresses, connections)?;
    println!("\n{}: round trips of one client, medians", contestant.name);
    for (connections, median) in connections.iter().zip(&medians) {
        println!(
            "  {connections:6} connections: {median:8.1} µs, {:6.2} times",
            median / medians[0]
        );
    }
    server.finish()
}
