use std::collections::BTreeMap;

use libtest_mimic::{Failed, Trial};
use polyselect::Backend;

use crate::support::example;

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("backends::lists_each_and_says_which_is_taken", lists_each),
        Trial::test("backends::follows_the_environment", follows_the_environment),
    ]
}

fn run(variable: Option<&str>) -> Result<(bool, String, String), Failed> {
    let mut command = example("backends");
    command.env_remove("POLYSELECT_BACKEND");
    command.envs(variable.map(|name| ("POLYSELECT_BACKEND", name)));
    let output = command.output()?;
    let (out, error) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    Ok((output.status.success(), out, error))
}

fn lists_each() -> Result<(), Failed> {
    let (success, out, _) = run(None)?;
    assert!(success);
    let rows: BTreeMap<_, Vec<_>> = out
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, rest)| (name, rest.split_whitespace().collect()))
        .collect();
    for backend in Backend::ALL {
        let available = if backend.is_available() { "yes" } else { "-" };
        let edge = if backend.capabilities().edge { "yes" } else { "-" };
        assert_eq!(rows[backend.name()][..2], [available, edge], "{out}");
        if !backend.is_available() {
            let reason = format!("backend {backend} is not available on this system");
            assert!(out.contains(&reason), "{out}");
        }
    }
    let best = Backend::available().next().ok_or("no backend at all")?;
    assert!(out.contains(&format!("Selector::new() takes {best}: the first")), "{out}");
    Ok(())
}

fn follows_the_environment() -> Result<(), Failed> {
    for backend in Backend::available() {
        let (_, out, _) = run(Some(backend.name()))?;
        let choice = format!("Selector::new() takes {backend}: POLYSELECT_BACKEND says so");
        assert!(out.contains(&choice), "{out}");
    }
    let (success, _, error) = run(Some("epool"))?;
    assert!(!success && error.contains("epool"), "{error}");
    Ok(())
}
