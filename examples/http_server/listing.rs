//! The page that lists a folder.

use std::fmt::Write;
use std::io;
use std::path::Path;

use cap_std::fs::Dir;
use percent_encoding::percent_decode_str;

use crate::path::encode;
use crate::site;

/// The number of names after which a listing is cut, with a notice, because it is built in memory.
const MOST_NAMES: usize = 10_000;

/// Returns the page of the folder at `uri`, which is `folder` below `root`. Symbolic links that lead
/// nowhere, or out of `root`, are left out.
pub fn page(uri: &str, root: &Dir, folder: &Path) -> io::Result<String> {
    let mut names = Vec::new();
    let mut is_cut = false;
    for entry in root.read_dir(folder)? {
        let name = entry?.file_name();
        let metadata = match root.metadata(folder.join(&name)) {
            Err(error) if site::is_missing(&error) => continue,
            metadata => metadata?,
        };
        if names.len() == MOST_NAMES {
            is_cut = true;
            break;
        }
        let slash = if metadata.is_dir() { "/" } else { "" };
        names.push((name, slash));
    }
    names.sort();

    let title = escape(&percent_decode_str(uri).decode_utf8_lossy());
    let mut page = format!(
        "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n"
    );
    if uri != "/" {
        page.push_str("<li><a href=\"../\">../</a></li>\n");
    }
    for (name, slash) in names {
        let shown = escape(&name.to_string_lossy());
        // With the leading dot, a colon in the name is not parsed as the end of a URL scheme.
        let link = encode(name.as_encoded_bytes());
        writeln!(page, "<li><a href=\"./{link}{slash}\">{shown}{slash}</a></li>")
            .expect("a string takes everything");
    }
    page.push_str("</ul>\n");
    if is_cut {
        writeln!(page, "<p>There are more than these {MOST_NAMES}.</p>").expect("as above");
    }
    Ok(page)
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}
