//! TCP echo over loopback: the server's cost of a message, and messages per second.
//!
//! ```text
//! cargo bench -p polyselect-benches --bench echo
//! cargo bench -p polyselect-benches --bench echo -- --connections 50,1000 --sizes 64,4096
//! cargo bench -p polyselect-benches --bench echo -- --only epoll,mio,tokio --rounds 21
//! ```
//!
//! The server is a separate process, which has accepted all connections beforehand. The generator, the same for all
//! servers, keeps `--pipelining` messages in transit on each connection, and checks every byte. CPU time is that of all
//! threads of the server and of the kernel on their behalf; the kernel attributes interrupts to the running process.
//! Memory is the anonymous memory of the server's process after the load, without the program's text and the kernel's
//! memory for sockets.
//!
//! Every server has one buffer of 64 KiB: it reads until a read is short or would block, writes back, and keeps the
//! bytes that the socket does not take. While it has such bytes, it waits for writing, otherwise for reading; it
//! changes its interest accordingly. The servers differ as follows, with details where each is defined:
//!
//! - raw, polling, calloop, epoll, event-loop, io_uring, our-mio, poll and select are level-triggered;
//!   raw-edge, mio, polling-edge, tokio, epoll-edge, coroutines and io_uring-edge are edge-triggered;
//!   polling-oneshot, calloop-tasks and async-io are one-shot, and raw-uring re-arms a poll after each event.
//! - raw-uring-recv lets io_uring receive and send: a buffer of 64 KiB for each connection, which
//!   increases its memory, one receive for each event, no read that would block.
//! - tokio, async-io (on async-executor's `LocalExecutor`), calloop-tasks and coroutines have a task for each connection, calloop
//!   a source, event-loop a closure; the others a place in a table.

mod connection;
mod generator;
mod process;
mod servers;

use std::io;

use clap::Parser;
use polyselect_benches::{Common, DescriptorLimit, Report, alternate, raise_descriptor_limit};

use generator::Load;
use process::Server;
use servers::{CONTESTANTS, Contestant};

#[derive(Parser)]
struct Args {
    #[arg(long, value_delimiter = ',', default_values_t = [1, 50, 1000, 9000])]
    connections: Vec<usize>,
    /// Bytes of a message.
    #[arg(long, value_delimiter = ',', default_values_t = [64],
        value_parser = clap::value_parser!(u64).range(1..=65536))]
    sizes: Vec<u64>,
    /// Messages in transit on each connection.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16],
        value_parser = clap::value_parser!(u64).range(1..))]
    pipelining: Vec<u64>,
    /// Messages in each run, times the pipelining; at least two for each connection.
    #[arg(long, default_value_t = 20_000)]
    messages: u64,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Serve, with this contestant.
    #[arg(long, hide = true)]
    serve: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// The load that all servers of a table have.
#[derive(Clone, Copy)]
struct Setup {
    connections: usize,
    size: u64,
    pipelining: u64,
    messages: u64,
}

/// With more bytes in transit, the kernel's memory would dominate the result.
const MOST_UNDER_WAY: u64 = 64 << 20;

/// With more connections, servers whose waits walk all of them are skipped.
const MOST_WALKED: usize = 1000;

fn main() -> io::Result<()> {
    let mut args = Args::parse();
    if args.common.quick {
        (args.connections, args.messages, args.rounds) = (vec![1, 50], 500, 1);
    }
    let limit = raise_descriptor_limit()?;
    if let Some(name) = &args.serve {
        let contestant = CONTESTANTS.iter().find(|contestant| contestant.name == name);
        let contestant = contestant.ok_or_else(|| io::Error::other("the server is unknown"))?;
        return process::serve(contestant, args.connections[0]);
    }
    let chosen = args.common.choose(CONTESTANTS, |contestant| contestant.name)?;
    let mut report = Report::new("echo", &args.common)?;
    for &connections in &args.connections {
        for &size in &args.sizes {
            for &pipelining in &args.pipelining {
                let messages = args.messages.max(2 * connections as u64) * pipelining;
                let load = Setup { connections, size, pipelining, messages };
                show(&chosen, load, args.rounds, limit, &mut report)?;
            }
        }
    }
    Ok(())
}

fn show(
    chosen: &[&Contestant],
    load: Setup,
    rounds: usize,
    limit: DescriptorLimit,
    report: &mut Report,
) -> io::Result<()> {
    let Setup { connections, size, pipelining, messages } = load;
    if !limit.allows(connections) {
        return Ok(());
    }
    println!("\n{connections} connections, {size} bytes, pipelining {pipelining}");
    let under_way = connections as u64 * size * pipelining;
    if under_way > MOST_UNDER_WAY {
        println!("skipped: {} MiB would be in transit at a time", under_way >> 20);
        return Ok(());
    }
    let can = |contestant: &&&Contestant| {
        contestant.is_available() && (connections <= MOST_WALKED || !contestant.walks)
    };
    let contestants: Vec<_> = chosen.iter().filter(can).collect();
    let mut runs: Vec<_> = contestants
        .iter()
        .map(|contestant| {
            move || {
                let name = contestant.name;
                run(contestant, load).map_err(|e| io::Error::new(e.kind(), format!("{name}: {e}")))
            }
        })
        .collect();
    let results = alternate(rounds, &mut runs)?;
    let settings =
        [("connections", connections as u64), ("size", size), ("pipelining", pipelining)];
    let quantities = [("CPU time", "ns a message"), ("messages", "a second"), ("memory", "KiB")];
    println!("{messages} messages in each run");
    report.table(&settings, &quantities, contestants.iter().map(|c| c.name).zip(results))
}

/// Nanoseconds of the server's CPU time a message, messages a second, and the server's memory.
fn run(contestant: &Contestant, load: Setup) -> io::Result<[f64; 3]> {
    let server = Server::start(contestant, load.connections)?;
    let mut clients = Load::connect(server.address, load.connections, load.size, load.pipelining)?;
    clients.run((load.messages / 10).max(load.connections as u64 * load.pipelining))?;
    let before = server.cpu_time()?;
    let wall = clients.run(load.messages)?;
    let cpu = server.cpu_time()? - before;
    let memory = server.memory()?;
    drop(clients);
    server.finish()?;
    let messages = load.messages as f64;
    Ok([cpu.as_nanos() as f64 / messages, messages / wall.as_secs_f64(), memory])
}
