//! A table as bars, one for each contestant.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::figures::Chart;

pub fn draw(chart: &Chart, path: &Path) -> Result<(), Box<dyn Error>> {
    let bars = i32::try_from(chart.series.len())?;
    let root = SVGBackend::new(path, (800, 90 + 24 * bars.unsigned_abs())).into_drawing_area();
    root.fill(&WHITE)?;
    let (least, most) = chart.range();
    let name = |segment: &SegmentValue<i32>| match segment {
        SegmentValue::CenterOf(row) if (0..bars).contains(row) => {
            chart.series[(bars - 1 - row) as usize].name.clone()
        }
        _ => String::new(),
    };
    let mut context = ChartBuilder::on(&root)
        .caption(&chart.title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(120)
        .build_cartesian_2d(least..most * 1.05, (0..bars - 1).into_segmented())?;
    context
        .configure_mesh()
        .disable_y_mesh()
        .max_light_lines(0)
        .y_labels(chart.series.len())
        .y_label_formatter(&name)
        .x_desc(&chart.quantity)
        .draw()?;
    // The first contestant is at the top.
    for (row, series) in (0..bars).rev().zip(&chart.series) {
        let Some((_, [min, median, max])) = series.points.first() else { continue };
        let (from, to) = (SegmentValue::Exact(row), SegmentValue::Exact(row + 1));
        let colour = if row == bars - 1 { RGBColor(150, 150, 150) } else { RGBColor(90, 140, 200) };
        let mut bar = Rectangle::new([(0.0, from), (*median, to)], colour.filled());
        bar.set_margin(4, 4, 0, 0);
        context.draw_series([bar])?;
        let middle = SegmentValue::CenterOf(row);
        let spread = vec![(*min, middle.clone()), (*max, middle)];
        context.draw_series([PathElement::new(spread, BLACK.stroke_width(1))])?;
    }
    if let Some(base) = chart.base {
        let ends = [SegmentValue::Exact(0), SegmentValue::Exact(bars)];
        let line = ends.map(|end| (base, end)).to_vec();
        context.draw_series([PathElement::new(line, RED.stroke_width(1))])?;
    }
    Ok(root.present()?)
}
