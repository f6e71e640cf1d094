//! User-space instructions of an event, compared with the committed figures: they do not depend on the load of the
//! machine, so a regression is detected.
//!
//! ```text
//! cargo bench -p polyselect-benches --bench instructions
//! cargo bench -p polyselect-benches --bench instructions -- --update
//! ```
//!
//! It fails when a figure has grown by more than 3 %. With another compiler than that of the figures, and without
//! valgrind, it reports that it is skipped.

#[allow(dead_code)] // The benchmark does not use all of it.
#[path = "ring/contestants/mod.rs"]
mod contestants;

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::{fs, io};

use clap::Parser;
use polyselect_benches::{Common, instructions, raise_descriptor_limit};

use contestants::{CONTESTANTS, Contestant};

/// Where the figures are kept.
const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.csv");

const ALLOWED_GROWTH: f64 = 1.03;

/// The contestants; raw epoll is there for comparison.
const WATCHED: &[&str] = &[
    "raw",
    "epoll",
    "epoll-edge",
    "shared",
    "event-loop",
    "coroutines",
    "io_uring",
    "io_uring-edge",
    "our-mio",
    "poll",
    "select",
];

const PIPES: usize = 100;

#[derive(Parser)]
struct Args {
    /// Write the present figures to the file.
    #[arg(long)]
    update: bool,
    /// Run one contestant and print nothing.
    #[arg(long, hide = true)]
    once: Option<String>,
    #[arg(long, hide = true, default_value_t = 1)]
    active: usize,
    #[arg(long, hide = true, default_value_t = 1)]
    events: u64,
    /// Arguments of all benchmarks, which this one ignores.
    #[command(flatten)]
    common: Common,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    raise_descriptor_limit()?;
    if let Some(name) = &args.once {
        let contestant = CONTESTANTS.iter().find(|contestant| contestant.name == *name);
        let contestant = contestant.ok_or(io::ErrorKind::InvalidInput)?;
        contestant.open(PIPES, args.active)?.run(args.events)?;
        return Ok(ExitCode::SUCCESS);
    }
    let compiler = compiler()?;
    let (known_compiler, known) = read_figures().unwrap_or_default();
    if !args.update && known_compiler != compiler {
        println!("skipped: the figures are {known_compiler}'s, and this is {compiler}");
        return Ok(ExitCode::SUCCESS);
    }
    let Some(counted) = count()? else {
        println!("skipped: valgrind is not installed");
        return Ok(ExitCode::SUCCESS);
    };
    if args.update {
        write_figures(&compiler, &counted)?;
    }
    Ok(show(&counted, &known))
}

/// A contestant and how many of the pipes are active.
type Setting = (String, usize);

fn count() -> io::Result<Option<BTreeMap<Setting, f64>>> {
    let mut counted = BTreeMap::new();
    let watched =
        |contestant: &&Contestant| WATCHED.contains(&contestant.name) && contestant.is_available();
    for contestant in CONTESTANTS.iter().filter(watched) {
        for active in [1, 100] {
            // The difference of two runs excludes the set-up.
            let (few, many) = (5_000, 25_000);
            let run = |events: u64| {
                let (active, events) = (active.to_string(), events.to_string());
                let arguments =
                    ["--once", contestant.name, "--active", &active, "--events", &events];
                instructions(&arguments.map(str::to_owned))
            };
            let (Some(short), Some(long)) = (run(few)?, run(many)?) else { return Ok(None) };
            let each = (long - short) as f64 / (many - few) as f64;
            counted.insert((contestant.name.to_owned(), active), each);
        }
    }
    Ok(Some(counted))
}

fn show(counted: &BTreeMap<Setting, f64>, known: &BTreeMap<Setting, f64>) -> ExitCode {
    println!("user-space instructions an event, {PIPES} pipes");
    println!("{:16} {:>6} {:>9} {:>9}", "", "active", "now", "committed");
    let mut has_grown = false;
    for (setting, &now) in counted {
        let before = known.get(setting).copied();
        let verdict = match before {
            Some(before) if now > before * ALLOWED_GROWTH => "  has grown",
            Some(before) if now * ALLOWED_GROWTH < before => "  has shrunk: --update",
            Some(_) => "",
            None => "  is new: --update",
        };
        has_grown |= verdict == "  has grown";
        let before = before.map_or_else(String::new, |before| format!("{before:.1}"));
        println!("{:16} {:6} {now:9.1} {before:>9}{verdict}", setting.0, setting.1);
    }
    if has_grown { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn compiler() -> io::Result<String> {
    let output = Command::new("rustc").arg("--version").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the compiler of the figures, and the figures; `None` if they cannot be read.
fn read_figures() -> Option<(String, BTreeMap<Setting, f64>)> {
    let text = fs::read_to_string(FIGURES).ok()?;
    let (compiler, rows) = text.split_once('\n')?;
    let row = |row: &str| {
        let mut cells = row.split(',');
        let setting = (cells.next()?.to_owned(), cells.next()?.parse().ok()?);
        Some((setting, cells.next()?.parse().ok()?))
    };
    let figures = rows.lines().skip(1).map(row).collect::<Option<_>>()?;
    Some((compiler.trim_start_matches("# ").to_owned(), figures))
}

fn write_figures(compiler: &str, figures: &BTreeMap<Setting, f64>) -> io::Result<()> {
    let rows = figures.iter().map(|((name, active), each)| format!("{name},{active},{each:.1}\n"));
    let head = format!("# {compiler}\ncontestant,active,instructions an event\n");
    fs::write(FIGURES, head + &rows.collect::<String>())
}
