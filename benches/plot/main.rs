//! Draws the output of the benchmarks' `--csv`: an SVG for each table, and one for each
//! setting that has several values.
//!
//! ```text
//! cargo bench -p polyselect-benches --bench echo -- --csv /tmp/figures.csv
//! cargo run --release -p polyselect-benches --bin plot -- /tmp/figures.csv --out /tmp/plots
//! ```
//!
//! Bars are medians, the lines across them reach from the lowest to the highest round. If a
//! measurement with the same names is repeated, the last one counts.

mod bars;
mod figures;
mod lines;

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use clap::Parser;

use figures::{Chart, Figures};

#[derive(Parser)]
struct Args {
    /// CSV files of benchmarks.
    #[arg(required = true, value_name = "CSV")]
    files: Vec<PathBuf>,
    /// The folder for the charts; it is created if it does not exist.
    #[arg(long, value_name = "FOLDER", default_value = "plots")]
    out: PathBuf,
    /// Draw the figures themselves, not their ratios to the first.
    #[arg(long)]
    absolute: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut figures = Figures::default();
    for path in &args.files {
        figures.read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    fs::create_dir_all(&args.out).map_err(|error| format!("{}: {error}", args.out.display()))?;
    let kinds: [(Vec<Chart>, Draw); 2] = [
        (figures.tables(args.absolute), bars::draw),
        (figures.courses(args.absolute), lines::draw),
    ];
    for (charts, draw) in kinds {
        for chart in charts {
            let path = args.out.join(chart.file_name());
            draw(&chart, &path).map_err(|error| format!("{}: {error}", path.display()))?;
            println!("{}", path.display());
        }
    }
    Ok(())
}

type Draw = fn(&Chart, &std::path::Path) -> Result<(), Box<dyn Error>>;
