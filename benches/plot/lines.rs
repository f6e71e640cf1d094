//! The course of a quantity over a setting, a line for each contestant.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::figures::Chart;

pub fn draw(chart: &Chart, path: &Path) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (900, 560)).into_drawing_area();
    root.fill(&WHITE)?;
    let (least, most) = chart.range();
    let values = || chart.series.iter().flat_map(|series| &series.points).map(|(value, _)| *value);
    let (first, last) = (values().min().unwrap_or(1).max(1), values().max().unwrap_or(1).max(2));
    let mut context = ChartBuilder::on(&root)
        .caption(&chart.title, ("sans-serif", 16))
        .margin(10)
        // The room at the right is the legend's.
        .margin_right(160)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((first as f64..last as f64).log_scale(), least..most * 1.05)?;
    context
        .configure_mesh()
        .max_light_lines(0)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .x_desc(&chart.along)
        .y_desc(&chart.quantity)
        .draw()?;
    for ((index, series), y) in chart.series.iter().enumerate().zip((45..).step_by(22)) {
        let colour = HSLColor(index as f64 / chart.series.len() as f64, 0.9, 0.38);
        let points: Vec<_> = series
            .points
            .iter()
            .map(|(value, [_, median, _])| ((*value).max(1) as f64, *median))
            .collect();
        let dots = points.iter().map(|point| Circle::new(*point, 3, colour.filled()));
        context.draw_series(dots)?;
        context.draw_series([PathElement::new(points, colour.stroke_width(2))])?;

        let x = 770;
        let line = PathElement::new(vec![(x, y), (x + 20, y)], colour.stroke_width(2));
        root.draw(&line)?;
        let style = ("sans-serif", 13).into_font();
        root.draw(&Text::new(series.name.as_str(), (x + 26, y - 6), style))?;
    }
    Ok(root.present()?)
}
