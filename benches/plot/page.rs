//! The pictures of `docs/performance.md`, each drawn from the table before it.

use super::curves::Curves;
use super::dots::Dots;

enum Kind {
    /// A mark for each figure of these columns.
    Dots(&'static [&'static str]),
    /// A curve for each row along the numbers in the names of its columns, of those that name a number.
    Curves(&'static str),
}

struct Chart {
    /// The file, in the folder of the page.
    file: &'static str,
    title: &'static str,
    quantity: &'static str,
    is_log: bool,
    base: Option<f64>,
    kind: Kind,
}

const CHARTS: [Chart; 6] = [
    Chart {
        file: "performance/ring.svg",
        title: "An event: of 1,000 pipes one is active, or 100",
        quantity: "CPU time of an event, ratio to raw epoll",
        is_log: true,
        base: Some(1.0),
        kind: Kind::Dots(&["1,000 / 1", "1,000 / 100"]),
    },
    Chart {
        file: "performance/idle.svg",
        title: "9,900 pipes instead of 100: growth of an event beyond that of raw epoll",
        quantity: "CPU time, percent of raw epoll’s event",
        is_log: false,
        base: Some(0.0),
        kind: Kind::Dots(&["1 active", "100 active"]),
    },
    Chart {
        file: "performance/echo.svg",
        title: "Echo over TCP: connections / messages in transit on each",
        quantity: "CPU time of the server for a message, ratio to raw epoll",
        is_log: false,
        base: Some(1.0),
        kind: Kind::Dots(&["1 / 1", "1 / 16", "1,000 / 1", "1,000 / 16"]),
    },
    Chart {
        file: "performance/registration.svg",
        title: "Registering and modifying 9,900 descriptors",
        quantity: "CPU time, ratio to raw epoll",
        is_log: true,
        base: Some(1.0),
        kind: Kind::Dots(&[
            "register + unregister",
            "modify",
            "modify that cancels out before the wait",
        ]),
    },
    Chart {
        file: "performance/timers.svg",
        title: "A million timers",
        quantity: "nanoseconds of an operation",
        is_log: true,
        base: None,
        kind: Kind::Dots(&["set", "cancel", "fire", "churn"]),
    },
    Chart {
        file: "performance/models.svg",
        title: "The same echo under each model",
        quantity: "CPU time of the server for a request, µs",
        is_log: true,
        base: None,
        kind: Kind::Curves("clients"),
    },
];

/// Draws every picture of the page: the name of its file, and the SVG.
pub fn draw(page: &str) -> Result<Vec<(&'static str, String)>, String> {
    CHARTS.iter().map(|chart| Ok((chart.file, chart.draw(page)?))).collect()
}

impl Chart {
    fn draw(&self, page: &str) -> Result<String, String> {
        let reference = format!("][{}]", self.file);
        let (before, _) = page
            .split_once(&reference)
            .ok_or_else(|| format!("the page does not show {}", self.file))?;
        let table = Table::last_of(before)
            .ok_or_else(|| format!("no table precedes {} on the page", self.file))?;
        self.draw_table(&table).map_err(|error| format!("the table of {}: {error}", self.file))
    }

    fn draw_table(&self, table: &Table<'_>) -> Result<String, String> {
        let &Self { title, quantity, is_log, base, ref kind, .. } = self;
        let (title, quantity) = (title.to_owned(), quantity.to_owned());
        match *kind {
            Kind::Dots(names) => {
                let columns = names.iter().map(|&name| table.column(name));
                let columns = columns.collect::<Result<Vec<_>, _>>()?;
                let mut rows = Vec::new();
                for row in &table.rows {
                    let figures = columns.iter().map(|&column| figure(row, column));
                    let figures = figures.map(|figure| Ok(figure?.map(|figure| [figure; 3])));
                    rows.push((plain(row[0]), figures.collect::<Result<_, String>>()?));
                }
                let columns = names.iter().map(|&name| name.to_owned()).collect();
                Ok(Dots { title, quantity, is_log, base, columns, rows }.draw())
            }
            Kind::Curves(along) => {
                let number = |(column, name): (usize, &&str)| {
                    let name = name.replace(',', "");
                    Some((column, name.split(' ').next()?.parse::<f64>().ok()?))
                };
                let columns: Vec<_> = table.header.iter().enumerate().filter_map(number).collect();
                let mut curves = Vec::new();
                for row in &table.rows {
                    let mut points = Vec::new();
                    for &(column, along) in &columns {
                        points.extend(figure(row, column)?.map(|figure| (along, figure)));
                    }
                    curves.push((plain(row[0]), points));
                }
                let along = along.to_owned();
                Ok(Curves { title, quantity, along, is_log, base, curves }.draw())
            }
        }
    }
}

struct Table<'a> {
    header: Vec<&'a str>,
    rows: Vec<Vec<&'a str>>,
}

impl<'a> Table<'a> {
    fn last_of(text: &'a str) -> Option<Self> {
        let lines = text.lines().rev().skip_while(|line| !line.starts_with('|'));
        let lines: Vec<_> = lines.take_while(|line| line.starts_with('|')).map(cells).collect();
        // From the last row up to the header, with a line of dashes below it.
        let (header, rows) = lines.split_last()?;
        let rows = rows.split_last()?.1.iter().rev().cloned().collect();
        Some(Self { header: header.clone(), rows })
    }

    fn column(&self, name: &str) -> Result<usize, String> {
        let found = self.header.iter().position(|column| *column == name);
        found.ok_or_else(|| format!("it has no column {name:?}"))
    }
}

fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split('|').map(str::trim).collect()
}

/// Returns the figure in a cell; a dash stands for a case that was not measured.
fn figure(row: &[&str], column: usize) -> Result<Option<f64>, String> {
    let cell = *row.get(column).ok_or_else(|| format!("a row ends early: {row:?}"))?;
    if cell == "–" {
        return Ok(None);
    }
    cell.parse().map(Some).map_err(|_| format!("{cell:?} is not a figure"))
}

fn plain(text: &str) -> String {
    text.replace('`', "")
}
