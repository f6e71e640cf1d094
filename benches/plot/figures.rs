//! The figures of the CSVs, as charts.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use polyselect_benches::CSV_HEADER;

use crate::curves::Curves;
use crate::dots::{Dots, Spread};

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

    /// Draws a chart of each table: the name of its file, and the SVG.
    pub fn tables(&self, absolute: bool) -> Vec<(String, String)> {
        let chart = |table: &Table| {
            let (title, quantity, base) = table.names(&table.settings, absolute);
            let figures = table.rows.iter();
            let rows =
                figures.map(|row| (row.0.clone(), vec![Some(figure(row, absolute))])).collect();
            let file = file_name(&[&title, &quantity]);
            let columns = vec![quantity.clone()];
            (file, Dots { title, quantity, is_log: false, base, columns, rows }.draw())
        };
        self.0.iter().map(chart).collect()
    }

    /// Draws a chart of each setting of which there are several values while the others stay.
    pub fn courses(&self, absolute: bool) -> Vec<(String, String)> {
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
                let (title, quantity, base) = tables[0].1.names(&rest, absolute);
                let file = file_name(&[&title, &quantity, "by", &along]);
                let curves = curves(&tables, absolute);
                let is_log = false;
                charts.push((file, Curves { title, quantity, along, is_log, base, curves }.draw()));
            }
        }
        charts
    }
}

impl Table {
    /// The title of a chart with these settings, the name of its axis of figures, and its base.
    fn names(&self, settings: &Settings, absolute: bool) -> (String, String, Option<f64>) {
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let title = format!("{} {}", self.benchmark, settings.join(" ")).trim().to_owned();
        if !absolute && self.rows.iter().any(|(.., ratio)| ratio.is_some()) {
            let quantity = format!("{}, ratio to {}", self.quantity, self.rows[0].0);
            return (title, quantity, Some(1.0));
        }
        (title, format!("{}, {}", self.quantity, self.unit), None)
    }
}

/// Joins the parts to a name that is good on every system.
fn file_name(parts: &[&str]) -> String {
    let name = parts.join(" ");
    let allowed = name.chars().filter(|c| c.is_ascii_alphanumeric() || " =-".contains(*c));
    allowed.map(|c| if c == ' ' { '-' } else { c }).chain(".svg".chars()).collect()
}

fn figure(row: &(String, Spread, Option<Spread>), absolute: bool) -> Spread {
    row.2.filter(|_| !absolute).unwrap_or(row.1)
}

fn curves(tables: &[(u64, &Table)], absolute: bool) -> Vec<(String, Vec<(f64, f64)>)> {
    let mut all: Vec<(String, Vec<_>)> = Vec::new();
    for (value, table) in tables {
        for row in &table.rows {
            // The axis is logarithmic.
            let point = ((*value).max(1) as f64, figure(row, absolute)[1]);
            match all.iter_mut().find(|(name, _)| *name == row.0) {
                Some((_, points)) => points.push(point),
                None => all.push((row.0.clone(), vec![point])),
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
