//! The tests that `docs/reliability.md` names exist, and each fault names one.

use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../docs/reliability.md");

fn tests_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The suite `faults_peers` is `faults/peers.rs`, and `wakers` is `wakers.rs`.
fn suite_file(suite: &str) -> PathBuf {
    let folder = tests_folder().join("conformance");
    let below = ["asyncio", "event_loop", "faults", "shared"].into_iter().find_map(|below| {
        let file = suite.strip_prefix(below)?.strip_prefix('_')?;
        Some(folder.join(below).join(format!("{file}.rs")))
    });
    below.unwrap_or_else(|| folder.join(format!("{suite}.rs")))
}

/// The cases that a file lists in `cases!`.
fn cases(source: &str) -> impl Iterator<Item = &str> {
    let list = source.split_once("cases! {\n").and_then(|(_, list)| list.split_once("\n}\n"));
    let lines = list.map_or("", |(list, _)| list).lines().map(str::trim);
    lines.filter(|line| !line.starts_with("#[")).filter_map(|line| line.split([' ', ',']).next())
}

/// A test is `suite::case` of the conformance suite, or `tests/file.rs::name`.
fn find(test: &str) -> Result<(), String> {
    let (place, name) = test.rsplit_once("::").ok_or("neither suite::case nor file::name")?;
    let path = match place.strip_prefix("tests/") {
        Some(file) => tests_folder().join(file),
        None => suite_file(place),
    };
    let source =
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let is_there = match place.strip_prefix("tests/") {
        Some(_) => source.contains(&format!("#[test]\nfn {name}(")),
        None => cases(&source).any(|case| case == name),
    };
    is_there.then_some(()).ok_or_else(|| format!("{} has no test {name}", path.display()))
}

fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let lines = PAGE.lines().filter(|line| line.starts_with("| "));
    let rows = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect());
    rows.filter(|row: &Vec<_>| row[0] != "fault")
}

#[test]
fn the_tests_of_every_fault_exist() {
    let mut wrong = Vec::new();
    let mut faults = 0;
    for row in rows() {
        let [fault, provoked, seen, tests] = row[..] else { panic!("four cells: {row:?}") };
        faults += 1;
        if [fault, provoked, seen].iter().any(|cell| cell.is_empty()) {
            wrong.push(format!("{fault:?}: an empty cell"));
        }
        let mut named = tests.split('`').skip(1).step_by(2).peekable();
        if named.peek().is_none() {
            wrong.push(format!("{fault:?}: no test"));
        }
        wrong.extend(named.filter_map(|test| find(test).err().map(|why| format!("{test}: {why}"))));
    }
    assert!(faults > 20, "only {faults} faults: is it still a table?");
    assert!(wrong.is_empty(), "docs/reliability.md is not true:\n{}", wrong.join("\n"));
}

/// A test of a fault that is not on the page fails here.
#[test]
fn the_page_names_every_case_of_the_suites_of_faults() {
    let mut missing = Vec::new();
    for file in fs::read_dir(tests_folder().join("conformance/faults")).expect("is there") {
        let path = file.expect("is listed").path();
        let suite = path.file_stem().expect("is a file").to_string_lossy();
        let source = fs::read_to_string(&path).expect("is UTF-8");
        let names = cases(&source).map(|case| format!("faults_{suite}::{case}"));
        missing.extend(names.filter(|name| !PAGE.contains(&format!("`{name}`"))));
    }
    assert!(missing.is_empty(), "docs/reliability.md does not name {missing:?}");
}
