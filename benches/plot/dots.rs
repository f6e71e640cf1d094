//! A table as a chart: a row for each of its rows, and a mark for each figure.

use super::svg::{Axis, Picture, WIDTH};

/// Lowest, median, highest; the three are the same if only the median is known.
pub type Spread = [f64; 3];

pub struct Dots {
    pub title: String,
    /// The name of the axis of figures.
    pub quantity: String,
    pub is_log: bool,
    /// The figure that all others are compared with: 1 for ratios, 0 for differences.
    pub base: Option<f64>,
    pub columns: Vec<String>,
    /// The name of each row, and its figure in each column that has one.
    pub rows: Vec<(String, Vec<Option<Spread>>)>,
}

const ROW: f64 = 22.0;

impl Dots {
    pub fn draw(&self) -> String {
        let has_legend = self.columns.len() > 1;
        let top = if has_legend { 66.0 } else { 42.0 };
        let bottom = top + ROW * self.rows.len() as f64;
        let mut picture = Picture::new(&self.title, bottom + 54.0);

        // The width of a letter is not known here; this is more than it is in common fonts.
        let longest = self.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let left = 32.0 + 7.6 * longest as f64;
        let figures = self.rows.iter().flat_map(|(_, figures)| figures).flatten().flatten();
        let values = figures.copied().chain(self.base);
        let axis = Axis::new(self.is_log, values, left, WIDTH - 20.0);
        picture.horizontal(&axis, &self.quantity, top, bottom);
        if let Some(base) = self.base {
            picture.line("base", (axis.at(base), top), (axis.at(base), bottom));
        }
        let mut x = left;
        for (index, column) in self.columns.iter().enumerate().filter(|_| has_legend) {
            picture.mark(index + 1, (x + 5.0, top - 20.0));
            picture.text("", x + 16.0, top - 15.5, column);
            x += 40.0 + 7.6 * column.chars().count() as f64;
        }
        for (row, (name, figures)) in self.rows.iter().enumerate() {
            let middle = top + ROW * (row as f64 + 0.5);
            picture.text("end", left - 12.0, middle + 4.5, name);
            picture.line("grid", (left, middle), (WIDTH - 20.0, middle));
            for (column, figure) in figures.iter().enumerate() {
                let Some([min, median, max]) = *figure else { continue };
                // Marks of the same value lie beside each other.
                let y = middle + 3.5 * (column as f64 - (figures.len() - 1) as f64 / 2.0);
                if min < max {
                    picture.line("spread", (axis.at(min), y), (axis.at(max), y));
                }
                picture.mark(column + 1, (axis.at(median), y));
            }
        }
        picture.finish()
    }
}
