//! The conformance suite runs every file that lies in its folder.

use std::fs;
use std::path::{Path, PathBuf};

/// A file that no `mod` names is not compiled, so that neither the compiler nor the suite misses
/// its cases.
#[test]
fn each_file_of_the_conformance_suite_is_declared() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut undeclared = Vec::new();
    let mut folders = vec![(root.join("main.rs"), root)];
    let mut files = 0;
    while let Some((parent, folder)) = folders.pop() {
        let declarations = fs::read_to_string(&parent).expect("has a file of its own");
        for entry in fs::read_dir(&folder).expect("is there") {
            let path: PathBuf = entry.expect("is listed").path();
            if path == parent {
                continue;
            }
            let name = path.file_stem().expect("has a name").to_string_lossy();
            if path.is_dir() {
                let (inside, beside) = (path.join("mod.rs"), path.with_extension("rs"));
                folders.push((if inside.exists() { inside } else { beside }, path.clone()));
            }
            let declaration = format!("mod {name};");
            if !declarations.lines().any(|line| line.trim().ends_with(&declaration)) {
                undeclared.push(path);
            }
            files += 1;
        }
    }
    assert!(files > 60, "only {files} files: are they still there?");
    assert!(undeclared.is_empty(), "no `suites!` declares {undeclared:?}");
}
