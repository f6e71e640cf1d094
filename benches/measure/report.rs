//! Tables for people, and CSV for plots.

use std::fs::{File, OpenOptions};
use std::io;

use crate::{Common, Compared, Spread};

/// A number that the run was made with, and its name: `("pipes", 1000)`.
pub type Setting = (&'static str, u64);

/// The columns of the CSV.
pub const CSV_HEADER: [&str; 11] = [
    "benchmark",
    "settings",
    "contestant",
    "quantity",
    "unit",
    "min",
    "median",
    "max",
    "ratio_min",
    "ratio_median",
    "ratio_max",
];

/// Where the figures of a benchmark go.
#[derive(Debug)]
pub struct Report {
    benchmark: &'static str,
    csv: Option<csv::Writer<File>>,
}

impl Report {
    /// Opens the CSV if there is a path, so that a bad path is reported before the work.
    pub fn new(benchmark: &'static str, common: &Common) -> io::Result<Self> {
        let Some(path) = &common.csv else { return Ok(Self { benchmark, csv: None }) };
        let named = |error| io::Error::other(format!("{}: {error}", path.display()));
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(named)?;
        let is_new = file.metadata()?.len() == 0;
        let mut csv = csv::Writer::from_writer(file);
        if is_new {
            csv.write_record(CSV_HEADER)?;
        }
        Ok(Self { benchmark, csv: Some(csv) })
    }

    /// Prints and records a comparison. Each quantity comes with its unit, each row with a figure
    /// for every quantity.
    pub fn table<'a, const N: usize>(
        &mut self,
        settings: &[Setting],
        quantities: &[(&str, &str); N],
        rows: impl IntoIterator<Item = (&'a str, [Compared; N])>,
    ) -> io::Result<()> {
        print!("\n{:16}", "");
        for (quantity, unit) in quantities {
            print!("  {:>42}", format!("{quantity}, {unit}"));
        }
        print!("\n{:16}", "");
        for _ in quantities {
            print!(
                "  {:>8} {:>8} {:>10} {:>6} {:>6}",
                "min", "median", "ratio min", "median", "max"
            );
        }
        println!();
        for (contestant, figures) in rows {
            print!("{contestant:16}");
            for (Compared { cost, ratio }, (quantity, unit)) in figures.iter().zip(quantities) {
                print!("  {:>8} {:>8}", figure(cost.min), figure(cost.median));
                print!(" {:10.3} {:6.3} {:6.3}", ratio.min, ratio.median, ratio.max);
                self.record(settings, contestant, (quantity, unit), &figures_of(cost, ratio))?;
            }
            println!();
        }
        self.flush()
    }

    /// Records a comparison that the benchmark prints itself.
    pub fn record_only(
        &mut self,
        settings: &[Setting],
        contestant: &str,
        quantity: (&str, &str),
        compared: &Compared,
    ) -> io::Result<()> {
        let figures = figures_of(&compared.cost, &compared.ratio);
        self.record(settings, contestant, quantity, &figures)?;
        self.flush()
    }

    /// Records a figure that is the same in each run, with that of the first contestant.
    pub fn single(
        &mut self,
        settings: &[Setting],
        contestant: &str,
        quantity: (&str, &str),
        figure: f64,
        base: f64,
    ) -> io::Result<()> {
        let ratio = figure / base;
        let figures = [figure, figure, figure, ratio, ratio, ratio];
        self.record(settings, contestant, quantity, &figures)?;
        self.flush()
    }

    /// Records a difference, for which a ratio to the first would mean nothing.
    pub fn record_difference(
        &mut self,
        settings: &[Setting],
        contestant: &str,
        quantity: (&str, &str),
        spread: &Spread,
    ) -> io::Result<()> {
        self.record(settings, contestant, quantity, &[spread.min, spread.median, spread.max])?;
        self.flush()
    }

    fn record(
        &mut self,
        settings: &[Setting],
        contestant: &str,
        (quantity, unit): (&str, &str),
        figures: &[f64],
    ) -> io::Result<()> {
        let Some(csv) = &mut self.csv else { return Ok(()) };
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let texts = [self.benchmark, &settings.join(" "), contestant, quantity, unit];
        let numbers = figures.iter().map(|figure| format!("{figure:.4}"));
        let record = texts.iter().map(|&text| text.to_owned()).chain(numbers);
        // The columns of a missing ratio are empty.
        let record = record.chain(std::iter::repeat(String::new())).take(CSV_HEADER.len());
        Ok(csv.write_record(record.collect::<Vec<_>>())?)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.csv.as_mut().map_or(Ok(()), csv::Writer::flush)
    }
}

fn figures_of(cost: &Spread, ratio: &Spread) -> [f64; 6] {
    [cost.min, cost.median, cost.max, ratio.min, ratio.median, ratio.max]
}

/// Formats a figure with the significant decimals.
fn figure(value: f64) -> String {
    if value.abs() < 10_000.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}
