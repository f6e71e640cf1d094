//! The course of a quantity along a setting: a curve for each contestant, and a legend.

use super::svg::{Axis, Picture, WIDTH};

pub struct Curves {
    pub title: String,
    /// The name of the vertical axis.
    pub quantity: String,
    /// The name of the horizontal axis, which is logarithmic.
    pub along: String,
    pub is_log: bool,
    /// The figure that all others are compared with: 1 for ratios, 0 for differences.
    pub base: Option<f64>,
    pub curves: Vec<(String, Vec<(f64, f64)>)>,
}

impl Curves {
    pub fn draw(&self) -> String {
        let (left, right, top, bottom) = (72.0, WIDTH - 200.0, 70.0, 420.0);
        let legend = top + 24.0 * self.curves.len() as f64;
        let mut picture = Picture::new(&self.title, f64::max(bottom + 54.0, legend + 10.0));
        let points = || self.curves.iter().flat_map(|(_, points)| points);
        let mut places: Vec<_> = points().map(|point| point.0).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        let x = Axis::new(true, places.iter().copied(), left, right);
        let x = if places.len() <= 8 { x.with_grid(places) } else { x };
        let y = Axis::new(self.is_log, points().map(|point| point.1).chain(self.base), bottom, top);
        picture.horizontal(&x, &self.along, top, bottom);
        picture.vertical(&y, &self.quantity, left, right);
        if let Some(base) = self.base {
            picture.line("base", (left, y.at(base)), (right, y.at(base)));
        }
        for (index, (name, points)) in self.curves.iter().enumerate() {
            let points: Vec<_> = points.iter().map(|&(a, b)| (x.at(a), y.at(b))).collect();
            picture.curve(index, &points);
            points.iter().for_each(|&point| picture.mark(index, point));
            let place = (right + 30.0, top + 10.0 + 24.0 * index as f64);
            picture.curve(index, &[(place.0 - 12.0, place.1), (place.0 + 12.0, place.1)]);
            picture.mark(index, place);
            picture.text("", place.0 + 20.0, place.1 + 4.5, name);
        }
        picture.finish()
    }
}
