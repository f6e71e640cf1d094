//! The table as a picture.

use std::io;
use std::path::Path;

use plotters::prelude::*;

use super::comparison::Row;

/// Draws a bar for each row; its length is the logarithm of its time.
pub fn draw(file: &Path, rows: &[Row]) -> io::Result<()> {
    const HEIGHT: u32 = 24;

    let area = SVGBackend::new(file, (760, 60 + HEIGHT * rows.len() as u32)).into_drawing_area();
    paint(&area, rows).map_err(|error| io::Error::other(format!("{}: {error}", file.display())))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn paint(area: &Area<'_>, rows: &[Row]) -> Result<(), Box<dyn std::error::Error>> {
    // Readable on light and on dark.
    let grey = RGBColor(128, 128, 128);
    let colours = [
        RGBColor(70, 130, 180),
        RGBColor(60, 160, 90),
        RGBColor(210, 120, 50),
        RGBColor(150, 90, 170),
    ];
    let mut counts: Vec<_> = rows.iter().map(|row| row.clients).collect();
    counts.sort_unstable();
    counts.dedup();
    // Zero has no logarithm.
    let times = || rows.iter().map(|row| row.cost.microseconds).filter(|&time| time > 0.0);
    let least = times().fold(f64::MAX, f64::min) / 2.0;
    let most = times().fold(0.0, f64::max) * 2.0;
    let mut chart = ChartBuilder::on(area)
        .caption("time of the server on the processor, µs a request", ("sans-serif", 15, &grey))
        .y_label_area_size(230)
        .x_label_area_size(30)
        .margin_right(50)
        .build_cartesian_2d((least..most).log_scale(), 0..rows.len())?;
    let name = |index: &usize| {
        let row = rows.len().checked_sub(index + 1).and_then(|index| rows.get(index));
        row.map_or(String::new(), |row| format!("{}, {} clients", row.model.name, row.clients))
    };
    chart
        .configure_mesh()
        .disable_mesh()
        .axis_style(grey)
        .label_style(("sans-serif", 12, &grey))
        .y_labels(rows.len())
        .y_label_formatter(&name)
        .y_label_offset(-10)
        .draw()?;
    chart.draw_series(rows.iter().rev().enumerate().map(|(index, row)| {
        let colour = colours[counts.partition_point(|&count| count < row.clients) % colours.len()];
        let mut bar = Rectangle::new(
            [(least, index), (row.cost.microseconds.max(least), index + 1)],
            colour.filled(),
        );
        bar.set_margin(3, 3, 0, 0);
        bar
    }))?;
    area.present()?;
    Ok(())
}
