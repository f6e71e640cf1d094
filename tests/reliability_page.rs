//! The tests that `docs/reliability.md` names exist, and each fault names one.

use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../docs/reliability.md");
const SUITES: &str = include_str!("conformance/main.rs");

fn tests_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The files of modules: `faults::peers` is `faults/peers.rs`.
fn suite_file(suite: &str) -> Result<PathBuf, String> {
    let entry = format!("(\"{suite}\", ");
    let (_, module) =
        SUITES.split_once(&entry).ok_or_else(|| format!("suite {suite} does not exist"))?;
    let (module, _) = module.split_once("::CASES").expect("each suite has its cases");
    Ok(tests_folder().join("conformance").join(format!("{}.rs", module.replace("::", "/"))))
}

/// A test is `suite::case` of the conformance suite, or `tests/file.rs::name`.
fn find(test: &str) -> Result<(), String> {
    let (place, name) = test.rsplit_once("::").ok_or("neither suite::case nor file::name")?;
    let (path, entry) = match place.strip_prefix("tests/") {
        Some(file) => (tests_folder().join(file), "#[test]\nfn "),
        None => (suite_file(place)?, "case!("),
    };
    let source =
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let is_there = source.split(entry).skip(1).any(|after| {
        after.strip_prefix(name).is_some_and(|after| after.starts_with(['(', ')', ' ']))
    });
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
    for suite in SUITES.split("(\"faults_").skip(1) {
        let (suite, _) = suite.split_once('"').expect("a name in quotes");
        let suite = format!("faults_{suite}");
        let source = fs::read_to_string(suite_file(&suite).expect("is there")).expect("is UTF-8");
        for case in source.split("case!(").skip(1) {
            let name = case.split([')', ' ']).next().expect("a name");
            if !PAGE.contains(&format!("`{suite}::{name}`")) {
                missing.push(format!("{suite}::{name}"));
            }
        }
    }
    assert!(missing.is_empty(), "docs/reliability.md does not name {missing:?}");
}
