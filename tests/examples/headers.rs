//! The header comment of each example.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("headers::say_the_document_and_the_commands", document_and_commands),
        Trial::test("headers::one_file_can_be_read_in_one_sitting", one_sitting),
    ]
}

/// The name of each example, and its main file.
fn examples() -> Result<Vec<(String, PathBuf)>, Failed> {
    let mut examples = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"))? {
        let path = entry?.path();
        let main = if path.is_dir() { path.join("main.rs") } else { path.clone() };
        // The folder of shared modules has no main file.
        if main.extension().is_some_and(|it| it == "rs") && main.exists() {
            examples.push((path.file_stem().ok_or("a name")?.display().to_string(), main));
        }
    }
    assert!(examples.len() > 30, "{examples:?}");
    Ok(examples)
}

fn document_and_commands() -> Result<(), Failed> {
    for (name, path) in examples()? {
        let source = fs::read_to_string(path)?;
        let header: Vec<_> = source.lines().map_while(|line| line.strip_prefix("//!")).collect();
        assert!(header.iter().any(|line| line.contains("document")), "{name}: which document?");
        let commands: Vec<_> = header
            .iter()
            .skip_while(|line| !line.contains("```text"))
            .skip(1)
            .take_while(|line| !line.contains("```"))
            .collect();
        let runs = |line: &str| {
            line.split(" --example ").nth(1).and_then(|rest| rest.split(' ').next()) == Some(&name)
        };
        assert!(commands.iter().any(|line| runs(line)), "{name}: how is it run?");
        // A server needs a client, and a client a server.
        let speaks = source.contains("HOST:PORT") && name != "blocking_modes";
        assert!(
            !speaks || !commands.iter().all(|line| runs(line)),
            "{name}: the commands lack its client or server"
        );
    }
    Ok(())
}

fn one_sitting() -> Result<(), Failed> {
    for (name, path) in examples()? {
        let lines = fs::read_to_string(path)?.lines().count();
        // http_server is the largest of the folders.
        let most = if name == "http_server" { 200 } else { 150 };
        assert!(lines <= most, "{name}: {lines} lines; a folder of files would be easier to read");
    }
    Ok(())
}
