//! The client of document 002: opens 10,000 connections, sends a message in three parts, each part
//! on all of them, and reads and verifies every reply. For any server that echoes, and with
//! `--upper` for `select_queue`. One thread and one selector do all of it.
//!
//! The original takes the result of one `recv` for the whole reply, verifies none of it, prints the
//! name of standard error instead of writing to it, and closes nothing. Here each byte is compared,
//! a client that fails is counted and closed while the others go on, and the exit code reports it.
//! The original opens all connections before it sends; here the first part is sent on each as soon
//! as it is open, and the next connection waits for an answer, so that the server's accept queue
//! does not overflow.
//!
//! ```text
//! ulimit -n 20000
//! cargo run --release --example echo_selector
//! cargo run --release --example many_clients -- localhost:10000
//! cargo run --release --example many_clients -- localhost:10000 --clients 500 --backend poll
//! ```
//!
//! `RUST_LOG=debug` prints a line for each message that is sent and received, as the original does.

#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod report;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use crowd::{Crowd, Exchange};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use polyselect::Backend;
use socket2::Socket;

#[derive(Parser)]
struct Args {
    /// Where the server listens.
    #[arg(value_name = "HOST:PORT")]
    addr: String,
    /// How many connections to open.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// How many connections may wait for their first answer, and so may not be accepted yet. More
    /// of them than the listener's queue holds would be reset.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    at_once: u32,
    /// Expect replies in UPPER CASE.
    #[arg(long)]
    upper: bool,
    /// Give up after this many seconds without any progress.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    patience: u32,
    /// The backend to wait with; without it, the best of this system.
    #[arg(long)]
    backend: Option<Backend>,
}

const MESSAGES: [&[u8]; 3] = [b"This is the message. ", b"It will be sent ", b"in parts."];

fn main() -> Result<ExitCode, common::Failure> {
    let args = Args::parse();
    common::start_log();
    let first = Socket::from(common::connect(&args.addr)?);
    let server = common::peer(&first);
    let clients = affordable(args.clients);
    let progress = progress(u64::from(clients) * (1 + MESSAGES.len() as u64));
    let patience = Duration::from_secs(args.patience.into());
    let mut crowd = Crowd::new(first, args.backend, progress, patience)?;

    log::info!("connecting to {server} with {clients} clients");
    let result = talk(&mut crowd, clients, &args);
    let report = crowd.finish();
    common::printing::print(format_args!("{report}"));
    match result {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => log::warn!("{error}"),
        _ => result?,
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn talk(crowd: &mut Crowd, clients: u32, args: &Args) -> io::Result<()> {
    let [first, second, third] = MESSAGES.map(|message| {
        let reply = if args.upper { message.to_ascii_uppercase() } else { message.to_vec() };
        Exchange { message, reply }
    });
    crowd.connect(clients, args.at_once, &first)?;
    crowd.exchange(&second)?;
    crowd.exchange(&third)
}

/// Shown if standard output is a terminal.
fn progress(steps: u64) -> ProgressBar {
    let target = if io::stdout().is_terminal() {
        ProgressDrawTarget::stdout()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{msg:9} {wide_bar} {pos}/{len} {eta}");
    ProgressBar::with_draw_target(Some(steps), target)
        .with_style(style.expect("a template without mistakes"))
}

/// The number of clients that the limit on descriptors allows, at most `clients`.
fn affordable(clients: u32) -> u32 {
    /// Standard streams, the selector, Ctrl-C, and some in reserve.
    const OTHERS: u32 = 32;

    let Some(limit) = common::descriptor_limit() else { return clients };
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let most = limit.saturating_sub(OTHERS).max(1);
    if clients > most {
        log::warn!(
            "this process may have {limit} descriptors: {most} clients instead of {clients}; \
             `ulimit -n {}` in this shell raises the limit, and the server needs as many",
            clients.saturating_add(OTHERS)
        );
    }
    clients.min(most)
}
