//! `docs/unsafe.md` lists every `unsafe` of the crate, and each has a comment that explains why it
//! is sound.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../docs/unsafe.md");

/// A word of a source file or a single other character, and the line that it is in.
struct Token {
    text: String,
    line: usize,
}

/// Words and characters, without comments, strings and characters in quotes.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut index, mut line) = (Vec::new(), 0, 1);
    while index < chars.len() {
        let start = index;
        match (at(index), at(index + 1)) {
            ('/', '/') => {
                while index < chars.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            ('/', '*') => index = end_of_comment(&chars, index),
            ('"', _) => index = end_of_string(&chars, index),
            ('r', '"' | '#') | ('b' | 'c', '"' | 'r') if raw_string(&chars, index).is_some() => {
                index = raw_string(&chars, index).expect("just found");
            }
            // A character; else it is a lifetime.
            ('\'', '\\') => {
                index += 3;
                while index < chars.len() && at(index) != '\'' {
                    index += 1;
                }
                index += 1;
            }
            ('\'', _) if at(index + 2) == '\'' => index += 3,
            (c, _) if is_word(c) => {
                while is_word(at(index)) {
                    index += 1;
                }
                let text = chars[start..index].iter().collect();
                tokens.push(Token { text, line });
            }
            (c, _) => {
                index += 1;
                if !c.is_whitespace() {
                    tokens.push(Token { text: c.into(), line });
                }
            }
        }
        line += chars[start..index.min(chars.len())].iter().filter(|&&c| c == '\n').count();
    }
    tokens
}

/// Block comments nest.
fn end_of_comment(chars: &[char], start: usize) -> usize {
    let (mut depth, mut index) = (0, start);
    while index < chars.len() {
        match (chars[index], chars.get(index + 1)) {
            ('/', Some('*')) => (depth, index) = (depth + 1, index + 2),
            ('*', Some('/')) => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            break;
        }
    }
    index
}

fn end_of_string(chars: &[char], start: usize) -> usize {
    let mut index = start + 1;
    while index < chars.len() && chars[index] != '"' {
        index += if chars[index] == '\\' { 2 } else { 1 };
    }
    index + 1
}

/// Returns the end of the string with a prefix that begins here, if one does.
fn raw_string(chars: &[char], start: usize) -> Option<usize> {
    let mut index = start;
    let mut is_raw = false;
    while let Some(&c @ ('b' | 'c' | 'r')) = chars.get(index) {
        is_raw |= c == 'r';
        index += 1;
    }
    if !is_raw {
        return (chars.get(index) == Some(&'"')).then(|| end_of_string(chars, index));
    }
    let hashes = chars[index..].iter().take_while(|&&c| c == '#').count();
    index += hashes;
    if chars.get(index) != Some(&'"') {
        return None;
    }
    index += 1;
    while index < chars.len() {
        let closes =
            chars[index] == '"' && chars[index + 1..].iter().take(hashes).all(|&c| c == '#');
        if closes {
            return Some(index + 1 + hashes);
        }
        index += 1;
    }
    Some(index)
}

/// The lines in which a block, an implementation or a function is `unsafe`.
fn unsafe_lines(source: &str) -> Vec<usize> {
    let tokens = tokens(source);
    let pairs = tokens.iter().zip(tokens.iter().skip(1));
    pairs
        .filter(|(word, next)| {
            word.text == "unsafe" && ["{", "impl", "fn", "extern", "trait"].contains(&&*next.text)
        })
        .map(|(word, _)| word.line)
        .collect()
}

/// Whether the comment right above a line explains why it is sound. Attributes may stand between.
fn has_reason(source: &str, line: usize) -> bool {
    let above = source.lines().take(line - 1).map(str::trim_start).collect::<Vec<_>>();
    let mut above = above.into_iter().rev().skip_while(|line| line.starts_with("#["));
    let mut comment = above.by_ref().take_while(|line| line.starts_with("//"));
    comment.any(|line| line.starts_with("// SAFETY: "))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("is a folder") {
        let path = entry.expect("can be read").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files(&root.join(folder), &mut found);
    found.sort();
    let named = found.iter().map(|path| {
        let name = path.strip_prefix(root).expect("is below").to_string_lossy().replace('\\', "/");
        (name, fs::read_to_string(path).expect("is UTF-8"))
    });
    named.collect()
}

/// The rows of the page's table, cell by cell.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let lines = PAGE.lines().filter(|line| line.starts_with("| `src/"));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn the_page_lists_every_unsafe() {
    let mut listed = BTreeMap::new();
    for row in rows() {
        let [file, count, what, why, tests] = row[..] else { panic!("five cells: {row:?}") };
        let count: usize = count.parse().unwrap_or_else(|_| panic!("{count:?} is not a number"));
        assert!(!what.is_empty() && !why.is_empty() && !tests.is_empty(), "an empty cell: {row:?}");
        let file = quoted(file).next().expect("a file in backticks").to_owned();
        assert!(listed.insert(file.clone(), count).is_none(), "{file} is listed twice");
    }
    let mut wrong = Vec::new();
    for (file, source) in sources("src") {
        let lines = unsafe_lines(&source);
        let count = listed.remove(&file).unwrap_or(0);
        if count != lines.len() {
            wrong.push(format!(
                "{file} has {} (lines {lines:?}), docs/unsafe.md says {count}",
                lines.len()
            ));
        }
    }
    wrong.extend(listed.keys().map(|file| format!("docs/unsafe.md lists {file}, which is gone")));
    assert!(
        wrong.is_empty(),
        "{}\nsay in the table of docs/unsafe.md what each is, why it is sound, and which test runs it",
        wrong.join("\n")
    );
}

#[test]
fn every_unsafe_says_why_it_is_sound() {
    for (file, source) in sources("src") {
        for line in unsafe_lines(&source) {
            assert!(
                has_reason(&source, line),
                "{file}:{line}: no comment with `SAFETY:` right above it"
            );
        }
    }
}

#[test]
fn the_tests_that_the_page_names_exist() {
    let tests: String = sources("tests").into_iter().map(|(_, source)| source).collect();
    for row in rows() {
        for test in quoted(row[4]) {
            assert!(
                tests.contains(&format!("fn {test}(")),
                "docs/unsafe.md names the test {test}, which does not exist"
            );
        }
    }
}

#[test]
fn what_is_no_code_does_not_count() {
    let source = r##"
        // unsafe { }
        /* unsafe { /* unsafe impl */ } unsafe { */
        let text = "unsafe { \" unsafe {";
        let raw = r#"unsafe { " unsafe {"#;
        let bytes = b"unsafe {"; let quote = '"'; let tick = '\''; let lifetime: &'static str;
        #![allow(unsafe_code)]
        // SAFETY: the reason,
        // in two lines.
        #[cfg(all)]
        unsafe impl Send for X {}
        fn f() { unsafe
            { g() } }
    "##;
    assert_eq!(unsafe_lines(source), [11, 12]);
    assert!(has_reason(source, 11) && !has_reason(source, 12));
}
