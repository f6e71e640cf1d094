//! Draws the pictures of `docs/performance.md` from its tables, and charts from the output of the
//! benchmarks' `--csv`: an SVG for each table, and one for each setting that has several values.
//!
//! ```text
//! cargo run -p polyselect-benches --bin plot -- --page docs/performance.md
//! cargo bench -p polyselect-benches --bench echo -- --csv /tmp/figures.csv
//! cargo run -p polyselect-benches --bin plot -- /tmp/figures.csv --out /tmp/plots
//! ```
//!
//! Marks are medians, the lines across them reach from the lowest to the highest round. If a
//! measurement with the same names is repeated, the last one counts.

mod curves;
mod dots;
mod figures;
mod page;
mod svg;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;

use figures::Figures;

#[derive(Parser)]
struct Args {
    /// CSV files of benchmarks.
    #[arg(required_unless_present = "page", value_name = "CSV")]
    files: Vec<PathBuf>,
    /// The folder for the charts of CSV files; it is created if it does not exist.
    #[arg(long, value_name = "FOLDER", default_value = "plots")]
    out: PathBuf,
    /// Draw the figures themselves, not their ratios to the first.
    #[arg(long)]
    absolute: bool,
    /// Draw the pictures of this page from its tables, into its folder.
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    page: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    if let Some(path) = &args.page {
        let name = |error: String| format!("{}: {error}", path.display());
        let page = fs::read_to_string(path).map_err(|error| name(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let pictures = page::draw(&page).map_err(name)?;
        return pictures.iter().try_for_each(|(file, picture)| write(&folder.join(file), picture));
    }
    let mut figures = Figures::default();
    for path in &args.files {
        figures.read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let charts = [figures.tables(args.absolute), figures.courses(args.absolute)].concat();
    charts.iter().try_for_each(|(file, chart)| write(&args.out.join(file), chart))
}

fn write(path: &Path, picture: &str) -> Result<(), Box<dyn Error>> {
    let named = |error| format!("{}: {error}", path.display());
    fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).map_err(named)?;
    fs::write(path, picture).map_err(named)?;
    println!("{}", path.display());
    Ok(())
}
