//! The header comment of each example.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("headers::say_the_document_and_the_commands", document_and_commands),
        Trial::test("headers::one_file_can_be_read_in_one_sitting", one_sitting),
        Trial::test("headers::all_examples_print_in_the_same_way", all_print_alike),
        Trial::test("readme::has_the_default_address_of_each_server", addresses),
    ]
}

/// The name of each example, and its main file.
pub fn examples() -> Result<Vec<(String, PathBuf)>, Failed> {
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
        let most = match &*name {
            // The largest of the folders.
            "http_server" => 200,
            // With the document's socket calls, so that both can be laid side by side.
            "selectors_thread_pool" => 170,
            _ => 150,
        };
        assert!(lines <= most, "{name}: {lines} lines; a folder of files would be easier to read");
    }
    Ok(())
}

/// `println!` panics when a pipe is closed, and a loop must not wait for its output.
fn all_print_alike() -> Result<(), Failed> {
    for (name, main) in examples()? {
        let is_folder = main.ends_with("main.rs");
        let files = if is_folder { sources(main.parent().ok_or("a folder")?)? } else { vec![main] };
        for file in files {
            let source = fs::read_to_string(&file)?;
            let prints =
                |word: &str| source.match_indices(word).any(|(at, _)| !source[..at].ends_with('e'));
            assert!(!prints("println!("), "{name}: {} has println!", file.display());
            assert!(!prints("print!("), "{name}: {} has print!", file.display());
        }
    }
    Ok(())
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, Failed> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

fn addresses() -> Result<(), Failed> {
    let readme = include_str!("../../examples/README.md");
    let (_, table) = readme.split_once("| listens at |").ok_or("a table")?;
    let rows: Vec<_> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    let mut found = 0;
    for (name, path) in examples()? {
        let source = fs::read_to_string(path)?;
        let flag = "#[arg(long, value_name = \"HOST:PORT\", default_value = \"";
        let Some((_, rest)) = source.split_once(flag).filter(|_| name != "blocking_modes") else {
            continue;
        };
        let address = rest.split('"').next().unwrap_or_default();
        let is_listed = |row: &&&str| {
            let mut cells = row.split('|').skip(1);
            let names = cells.next().unwrap_or_default();
            let listens_at = cells.next().unwrap_or_default();
            names.contains(&format!("`{name}`")) && listens_at.contains(&format!("`{address}`"))
        };
        assert_eq!(rows.iter().filter(is_listed).count(), 1, "{name} at {address}");
        found += 1;
    }
    let listed = rows.iter().map(|row| row.split('|').nth(1).unwrap_or_default());
    assert_eq!(listed.map(|names| names.matches('`').count() / 2).sum::<usize>(), found);
    Ok(())
}
