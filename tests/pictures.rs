//! The pictures in `docs/` are drawn from the tables of their page, and their texts can be read.

#[path = "../benches/plot/curves.rs"]
mod curves;
#[path = "support/docs.rs"]
mod docs;
#[path = "../benches/plot/dots.rs"]
mod dots;
#[path = "../benches/plot/page.rs"]
mod page;
#[path = "../benches/plot/svg.rs"]
mod svg;

use std::fs;
use std::path::PathBuf;

use docs::{docs, read};

#[test]
fn the_charts_of_the_performance_page_show_its_tables() {
    let charts = page::draw(&read(&docs().join("performance.md"))).unwrap();
    for (file, chart) in &charts {
        let advice = "a table has changed; run cargo run -p polyselect-benches --bin plot -- --page \
                      docs/performance.md, and POLYSELECT_WRITE_LINKS=1 cargo test --test rustdoc_links";
        assert!(read(&docs().join(file)) == *chart, "{file}: {advice}");
    }
    let drawn = charts.iter().map(|(file, _)| docs().join(file));
    let there = pictures().into_iter().filter(|path| path.starts_with(docs().join("performance")));
    assert_eq!(there.count(), drawn.count(), "docs/performance has a picture that nothing draws");
}

/// A text, with the place that it takes in common fonts.
struct Text {
    text: String,
    left: f64,
    right: f64,
    base: f64,
}

#[test]
fn texts_of_pictures_do_not_overlap_and_are_not_cut_off() {
    for path in pictures() {
        let (picture, name) = (read(&path), path.display());
        let size = |key| number(&picture, key).unwrap_or_else(|| panic!("{name} has no {key}"));
        let (width, height) = (size("width"), size("height"));
        let texts: Vec<_> = picture.split("<text ").skip(1).map(text).collect();
        assert!(!texts.is_empty(), "{name} has no text");
        for (index, one) in texts.iter().enumerate() {
            let fits = one.left >= 0.0 && one.right <= width - 10.0 && one.base <= height - 4.0;
            assert!(fits, "{name}: {:?} is cut off at {} of {width}", one.text, one.right);
            for other in &texts[index + 1..] {
                let apart = one.right <= other.left
                    || other.right <= one.left
                    || (one.base - other.base).abs() >= 12.0;
                assert!(apart, "{name}: {:?} overlaps {:?}", one.text, other.text);
            }
        }
    }
}

fn pictures() -> Vec<PathBuf> {
    let folders = [docs(), docs().join("performance")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "svg")).collect()
}

/// Returns the value of the first attribute of this name.
fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = element.split_once(&format!(" {name}=\""))?;
    rest.split('"').next()
}

fn number(element: &str, name: &str) -> Option<f64> {
    attribute(element, name)?.parse().ok()
}

fn text(element: &str) -> Text {
    let (attributes, rest) = element.split_once('>').expect("a complete tag");
    let attributes = format!(" {attributes}");
    let text = rest.split('<').next().unwrap_or_default().to_owned();
    let class = attribute(&attributes, "class").unwrap_or_default();
    let is_bold = class.contains("title");
    let width = text.chars().count() as f64
        * if is_bold {
            9.8
        } else if class == "note" {
            7.3
        } else {
            6.8
        };
    let x = number(&attributes, "x").expect("a place");
    let is_middle = class.contains("middle") || attributes.contains("text-anchor=\"middle\"");
    let left = match class {
        _ if is_middle => x - width / 2.0,
        "end" => x - width,
        _ => x,
    };
    Text { text, left, right: left + width, base: number(&attributes, "y").expect("a place") }
}
