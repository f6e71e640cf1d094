//! An SVG, and an axis. The picture has its own background, in both colour schemes, so it stays readable where
//! the page around it does not follow the scheme.

use std::fmt::Write as _;

pub const WIDTH: f64 = 760.0;

/// One for each series of a chart; each has a contrast of at least 3.8 on both backgrounds.
pub const COLOURS: [&str; 10] = [
    "#7d8590", "#3b7dd8", "#c9660a", "#2f8f44", "#d63c3c", "#9a5bd6", "#0f8f9c", "#d6469b",
    "#9c6b3f", "#80851a",
];

pub struct Picture {
    title: String,
    height: f64,
    body: String,
}

impl Picture {
    pub fn new(title: &str, height: f64) -> Self {
        let mut picture = Self { title: escape(title), height, body: String::new() };
        picture.text("title", 16.0, 26.0, title);
        picture
    }

    /// Writes a text whose base line is at `y`. The classes `middle` and `end` set its anchor.
    pub fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = escape(text);
        self.add(&format!(r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#));
    }

    /// Draws a line of the chart itself: `grid`, `base` or `spread`.
    pub fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.add(&format!(r#"<path class="{class}" d="M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}"/>"#));
    }

    pub fn curve(&mut self, series: usize, points: &[(f64, f64)]) {
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let class = series % COLOURS.len();
        self.add(&format!(r#"<path class="curve s{class}" d="M{}"/>"#, points.join("L")));
    }

    /// Draws a mark. Its shape differs from series to series, so that a reader needs no colour.
    pub fn mark(&mut self, series: usize, (x, y): (f64, f64)) {
        let shape = match (series + series / COLOURS.len()) % 5 {
            0 => "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
            1 => "m-3.5 -3.5h7v7h-7z",
            2 => "m0 -5l4.5 8h-9z",
            3 => "m0 -5l5 5l-5 5l-5 -5z",
            _ => "m0 5l4.5 -8h-9z",
        };
        let class = series % COLOURS.len();
        self.add(&format!(r#"<path class="s{class}" d="M{x:.1} {y:.1}{shape}"/>"#));
    }

    /// Draws the grid, the numbers and the name of a horizontal axis below `bottom`.
    pub fn horizontal(&mut self, axis: &Axis, name: &str, top: f64, bottom: f64) {
        for tick in axis.ticks() {
            let x = axis.at(tick);
            self.line("grid", (x, top), (x, bottom));
            self.text("middle", x, bottom + 18.0, &number(tick));
        }
        self.text("middle", (axis.start + axis.end) / 2.0, bottom + 40.0, name);
    }

    /// Draws the grid, the numbers and, above `left`, the name of a vertical axis.
    pub fn vertical(&mut self, axis: &Axis, name: &str, left: f64, right: f64) {
        for tick in axis.ticks() {
            let y = axis.at(tick);
            self.line("grid", (left, y), (right, y));
            self.text("end", left - 8.0, y + 4.5, &number(tick));
        }
        self.text("", 16.0, axis.end - 14.0, name);
    }

    fn add(&mut self, element: &str) {
        let _ = writeln!(self.body, "  {element}");
    }

    pub fn finish(self) -> String {
        let Self { title, height, body } = self;
        let mut colours = String::new();
        for (index, colour) in COLOURS.iter().enumerate() {
            if body.contains(&format!("s{index}\"")) {
                let _ = writeln!(colours, "    .s{index} {{ fill: {colour}; stroke: {colour} }}");
            }
        }
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="{title}">
  <style>
    text {{ font-family: sans-serif; font-size: 13px; fill: #1f2328 }}
    .title {{ font-size: 16px; font-weight: bold }}
    .middle {{ text-anchor: middle }}
    .end {{ text-anchor: end }}
    .paper {{ fill: #ffffff }}
    .grid {{ stroke: #d1d9e0 }}
    .base {{ stroke: #57606a; stroke-dasharray: 4 3 }}
    .spread {{ stroke: #57606a }}
{colours}    .curve {{ fill: none; stroke-width: 2 }}
    @media (prefers-color-scheme: dark) {{
      text {{ fill: #e6edf3 }}
      .paper {{ fill: #0d1117 }}
      .grid {{ stroke: #30363d }}
      .base, .spread {{ stroke: #9198a1 }}
    }}
  </style>
  <rect class="paper" width="{WIDTH}" height="{height}"/>
{body}</svg>
"#
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// Formats a number with the decimals that it needs, at most three, and a comma before the thousands.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text.len().checked_sub(3) {
        Some(thousands @ 1..) if value >= 1000.0 && !text.contains('.') => {
            format!("{},{}", &text[..thousands], &text[thousands..])
        }
        _ if text == "-0" => "0".to_owned(),
        _ => text.to_owned(),
    }
}

/// Values between two places of the picture.
pub struct Axis {
    is_log: bool,
    least: f64,
    most: f64,
    start: f64,
    end: f64,
    /// Where the grid is; without values the axis chooses round ones.
    grid: Vec<f64>,
}

impl Axis {
    /// Lays out `values` from `start` to `end`, with some room at both ends. A logarithmic axis leaves out values
    /// that have no logarithm.
    pub fn new(is_log: bool, values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let scaled = values.filter(|&value| !is_log || value > 0.0);
        let scaled = scaled.map(|value| if is_log { value.log10() } else { value });
        let (least, most) = scaled
            .fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)));
        let (least, most) = if least > most { (0.0, 1.0) } else { (least, most) };
        let room = if most > least { (most - least) * 0.06 } else { 1.0 };
        Self { is_log, least: least - room, most: most + room, start, end, grid: Vec::new() }
    }

    /// Draws the grid at these values instead of round ones.
    pub fn with_grid(self, grid: Vec<f64>) -> Self {
        Self { grid, ..self }
    }

    pub fn at(&self, value: f64) -> f64 {
        let value = if self.is_log { value.log10() } else { value };
        self.start + (value - self.least) / (self.most - self.least) * (self.end - self.start)
    }

    /// Round values: powers of ten, or multiples of them if the axis is short.
    fn ticks(&self) -> Vec<f64> {
        if !self.grid.is_empty() {
            return self.grid.clone();
        }
        let length = self.most - self.least;
        if !self.is_log {
            let steps = (-6..12).flat_map(|power| [1.0, 2.0, 5.0].map(|n| n * 10_f64.powi(power)));
            let step = steps.into_iter().find(|step| length / step <= 10.0).unwrap_or(1.0);
            let (first, last) = ((self.least / step).ceil(), (self.most / step).floor());
            return (first as i64..=last as i64).map(|n| n as f64 * step).collect();
        }
        let factors: &[f64] = match length {
            ..1.2 => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
            1.2..3.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let powers = (self.least.floor() as i32)..=(self.most.ceil() as i32);
        let all = powers.flat_map(|power| factors.iter().map(move |n| n * 10_f64.powi(power)));
        all.filter(|value| (self.least..=self.most).contains(&value.log10())).collect()
    }
}
