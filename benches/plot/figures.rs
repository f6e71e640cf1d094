//! The figures of the CSVs, as charts.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use polyselect_benches::CSV_HEADER;

/// A table, or the course of a quantity over a setting.
pub struct Chart {
    pub title: String,
    /// The label of the axis of figures.
    pub quantity: String,
    /// The setting along the other axis of a course; empty for a table.
    pub along: String,
    /// Where the first contestant is, or would be: 1 for ratios, 0 for differences.
    pub base: Option<f64>,
    pub series: Vec<Series>,
}

/// One contestant.
pub struct Series {
    pub name: String,
    /// By the setting along the axis; a table has one.
    pub points: Vec<(u64, Spread)>,
}

/// Lowest, median, highest.
pub type Spread = [f64; 3];

impl Chart {
    /// The title, as a name that is good on every system.
    pub fn file_name(&self) -> String {
        let along =
            if self.along.is_empty() { String::new() } else { format!(" by {}", self.along) };
        let name = format!("{} {}{along}", self.title, self.quantity);
        let mut plain = String::new();
        for c in name.chars().filter(|c| c.is_ascii_alphanumeric() || " =-".contains(*c)) {
            plain.push(if c == ' ' { '-' } else { c });
        }
        plain + ".svg"
    }

    /// The least that an axis has to reach down to, and the most that it has to reach up to.
    pub fn range(&self) -> (f64, f64) {
        let spreads =
            self.series.iter().flat_map(|series| &series.points).map(|(_, spread)| spread);
        spreads.fold((0.0, self.base.unwrap_or(0.0)), |(least, most), [min, _, max]| {
            (f64::min(least, *min), f64::max(most, *max))
        })
    }
}

type Settings = Vec<(String, u64)>;

/// All of one quantity of one benchmark with the same settings.
struct Table {
    benchmark: String,
    settings: Settings,
    quantity: String,
    unit: String,
    /// In the order of the file: the figure and the ratio, if it has one.
    rows: Vec<(String, Spread, Option<Spread>)>,
}

#[derive(Default)]
pub struct Figures(Vec<Table>);

impl Figures {
    pub fn read(&mut self, path: &Path) -> Result<(), Box<dyn Error>> {
        let mut csv = csv::Reader::from_path(path)?;
        if csv.headers()? != CSV_HEADER.as_slice() {
            return Err(format!("these are not the columns {}", CSV_HEADER.join(",")).into());
        }
        for (number, record) in csv.records().enumerate() {
            let at = |error| format!("record {}: {error}", number + 1);
            self.add(&record?).map_err(at)?;
        }
        Ok(())
    }

    fn add(&mut self, record: &csv::StringRecord) -> Result<(), Box<dyn Error>> {
        let [benchmark, settings, contestant, quantity, unit] =
            std::array::from_fn(|column| record[column].to_owned());
        let settings = parse_settings(&settings)?;
        let spread = |first: usize| -> Result<Spread, std::num::ParseFloatError> {
            Ok([record[first].parse()?, record[first + 1].parse()?, record[first + 2].parse()?])
        };
        let ratio = if record[8].is_empty() { None } else { Some(spread(8)?) };
        let row = (contestant, spread(5)?, ratio);

        let same = |table: &&mut Table| {
            table.benchmark == benchmark && table.settings == settings && table.quantity == quantity
        };
        let Some(table) = self.0.iter_mut().find(same) else {
            self.0.push(Table { benchmark, settings, quantity, unit, rows: vec![row] });
            return Ok(());
        };
        match table.rows.iter_mut().find(|(name, ..)| *name == row.0) {
            Some(known) => *known = row,
            None => table.rows.push(row),
        }
        Ok(())
    }

    /// A chart for each table.
    pub fn tables(&self, absolute: bool) -> Vec<Chart> {
        let chart = |table: &Table| {
            let series = table.rows.iter().map(|row| Series {
                name: row.0.clone(),
                points: vec![(0, figure(row, absolute))],
            });
            Chart::new(table, &table.settings, String::new(), absolute, series.collect())
        };
        self.0.iter().map(chart).collect()
    }

    /// A chart for each setting of which there are several values while the others stay.
    pub fn courses(&self, absolute: bool) -> Vec<Chart> {
        let mut courses = BTreeMap::<_, Vec<(u64, &Table)>>::new();
        for table in &self.0 {
            for (index, (along, value)) in table.settings.iter().enumerate() {
                let mut rest = table.settings.clone();
                rest.remove(index);
                let course = (&table.benchmark, rest, &table.quantity, along.clone());
                courses.entry(course).or_default().push((*value, table));
            }
        }
        let mut charts = Vec::new();
        for ((_, rest, _, along), mut tables) in courses {
            tables.sort_by_key(|(value, _)| *value);
            if tables.len() > 1 {
                let series = series(&tables, absolute);
                charts.push(Chart::new(tables[0].1, &rest, along, absolute, series));
            }
        }
        charts
    }
}

impl Chart {
    fn new(
        table: &Table,
        settings: &Settings,
        along: String,
        absolute: bool,
        series: Vec<Series>,
    ) -> Self {
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let title = format!("{} {}", table.benchmark, settings.join(" "));
        let is_ratio = !absolute && table.rows.iter().any(|(.., ratio)| ratio.is_some());
        let (quantity, base) = match is_ratio {
            true => (format!("{}, ratio to {}", table.quantity, table.rows[0].0), Some(1.0)),
            false => (format!("{}, {}", table.quantity, table.unit), None),
        };
        Self { title: title.trim().to_owned(), quantity, along, base, series }
    }
}

fn figure(row: &(String, Spread, Option<Spread>), absolute: bool) -> Spread {
    row.2.filter(|_| !absolute).unwrap_or(row.1)
}

fn series(tables: &[(u64, &Table)], absolute: bool) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for (value, table) in tables {
        for row in &table.rows {
            let point = (*value, figure(row, absolute));
            match all.iter_mut().find(|series| series.name == row.0) {
                Some(series) => series.points.push(point),
                None => all.push(Series { name: row.0.clone(), points: vec![point] }),
            }
        }
    }
    all
}

fn parse_settings(text: &str) -> Result<Settings, Box<dyn Error>> {
    let setting = |setting: &str| {
        let (name, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("{setting:?} is not a setting, as in pipes=1000"))?;
        Ok((name.to_owned(), value.parse()?))
    };
    text.split_whitespace().map(setting).collect()
}
