//! The pages in `docs/` are read as files and in rustdoc, where relative paths do not resolve. So
//! their links to each other and to pictures are references, defined at the end of the page. In
//! rustdoc `docs/rustdoc_links.md` precedes each page, and of two definitions the first counts: it
//! maps pages to items, and embeds the pictures.
//!
//! ```text
//! POLYSELECT_WRITE_LINKS=1 cargo test --test rustdoc_links    # after a picture has changed
//! ```

#[path = "support/docs.rs"]
mod docs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use docs::{docs, read};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The characters that end a link in Markdown, or are special in an address.
const ENCODED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'(').add(b')').add(b'<').add(b'>');

/// Returns the definitions of a page, one line `[label]: target` each.
fn definitions(page: &str) -> BTreeMap<&str, &str> {
    page.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).collect()
}

/// Returns the references of a page: every `label` of a `[text][label]`.
fn references(page: &str) -> BTreeSet<&str> {
    page.split("][")
        .skip(1)
        .filter_map(|rest| rest.split_once(']'))
        .map(|(label, _)| label)
        .collect()
}

fn pages() -> Vec<(String, String)> {
    let in_rustdoc = read(&docs().join("../src/lib.rs"));
    let pages = in_rustdoc.split("/docs/").skip(1).filter_map(|rest| rest.split_once("\")"));
    let names: BTreeSet<_> = pages.map(|(name, _)| name).collect();
    let pages: Vec<_> = names
        .into_iter()
        .filter(|&name| name != "rustdoc_links.md")
        .map(|name| (name.to_owned(), read(&docs().join(name))))
        .collect();
    assert!(pages.len() > 5, "src/lib.rs includes the pages: {pages:?}");
    pages
}

#[test]
fn pictures_are_as_they_are_in_their_files() {
    let path = docs().join("rustdoc_links.md");
    let links = read(&path);
    let mut fresh = String::new();
    for line in links.lines() {
        match line.split_once("]: data:") {
            None => fresh.push_str(line),
            Some((label, _)) => {
                let picture = read(&docs().join(label.trim_start_matches('[')));
                let picture = picture.split_whitespace().collect::<Vec<_>>().join(" ");
                let picture = utf8_percent_encode(&picture, ENCODED);
                fresh.push_str(&format!("{label}]: data:image/svg+xml,{picture}"));
            }
        }
        fresh.push('\n');
    }
    if std::env::var_os("POLYSELECT_WRITE_LINKS").is_some() {
        // The other tests may be reading the file.
        let complete = path.with_extension("new");
        fs::write(&complete, fresh).unwrap();
        fs::rename(complete, path).unwrap();
    } else {
        let advice =
            "a picture has changed; run POLYSELECT_WRITE_LINKS=1 cargo test --test rustdoc_links";
        assert!(links == fresh, "{advice}");
    }
}

#[test]
fn what_pages_refer_to_is_there_in_both_forms() {
    let links = read(&docs().join("rustdoc_links.md"));
    let in_rustdoc = definitions(&links);
    for (name, page) in pages() {
        let here = definitions(&page);
        for (label, target) in &here {
            let file = target.split('#').next().unwrap_or_default();
            assert!(
                docs().join(file).is_file(),
                "docs/{name} refers to {target}, which is not there"
            );
            assert!(
                in_rustdoc.contains_key(label),
                "docs/rustdoc_links.md lacks {label} of docs/{name}"
            );
        }
        for label in references(&page)
            .into_iter()
            .filter(|label| label.contains(".md") || label.contains(".svg"))
        {
            assert!(here.contains_key(label), "docs/{name} does not say where {label} is");
        }
    }
}

/// Returns the anchors of a page: its headings as GitHub and rustdoc name them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#')).map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    });
    headings.collect()
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let root = docs().join("..");
    let mut files: Vec<_> =
        fs::read_dir(docs()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    files.extend(
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "examples/README.md"]
            .map(|name| root.join(name)),
    );
    for path in files {
        let page = read(&path);
        let inline = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in inline.filter(|target| !target.contains(':') && !target.contains(' ')) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file =
                if file.is_empty() { path.clone() } else { path.with_file_name("").join(file) };
            assert!(file.exists(), "{} links to {target}, which does not exist", path.display());
            let leads_somewhere = anchor.is_empty() || anchors(&read(&file)).contains(anchor);
            assert!(
                leads_somewhere,
                "{} links to {target}, which has no such heading",
                path.display()
            );
        }
    }
}
