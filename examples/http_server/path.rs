//! The path of a request, decoded to the names of folders and of a file.

use std::ffi::OsString;
use std::path::PathBuf;

use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::request::Refusal;

/// The characters that are not encoded in a path, besides letters and digits.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path below the root, without `.` and `..`.
#[derive(Debug)]
pub struct RequestPath {
    names: Vec<OsString>,
    /// Whether it ends with a slash, or is the root.
    pub is_folder: bool,
}

impl RequestPath {
    pub fn parse(path: &str) -> Result<Self, Refusal> {
        if !path.starts_with('/') {
            return Err(bad("the request has no path"));
        }
        let mut names = Vec::new();
        let mut is_folder = true;
        for part in path.split('/').skip(1) {
            let name = decode(part)?;
            is_folder = false;
            match name.as_encoded_bytes() {
                b"" | b"." => is_folder = true,
                b".." => {
                    is_folder = true;
                    if names.pop().is_none() {
                        return Err(bad("the path leads out of the folder"));
                    }
                }
                // An encoded slash, which cannot be part of a name.
                bytes if bytes.contains(&b'/') => {
                    return Err(Refusal::new(StatusCode::NOT_FOUND, "file not found"));
                }
                _ => names.push(name),
            }
        }
        Ok(Self { names, is_folder })
    }

    /// Relative to the root.
    pub fn to_path(&self) -> PathBuf {
        if self.names.is_empty() { ".".into() } else { self.names.iter().collect() }
    }

    /// Encodes the path again, as that of a folder.
    pub fn to_folder_uri(&self) -> String {
        let mut uri = String::from("/");
        for name in &self.names {
            uri.push_str(&encode(name.as_encoded_bytes()));
            uri.push('/');
        }
        uri
    }
}

fn bad(why: &'static str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, why)
}

pub fn encode(name: &[u8]) -> String {
    percent_encode(name, PLAIN).to_string()
}

fn decode(part: &str) -> Result<OsString, Refusal> {
    let mut rest = part.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        if !rest.get(at + 1..at + 3).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit)) {
            return Err(bad("% is not followed by two hexadecimal digits"));
        }
        rest = &rest[at + 3..];
    }
    let bytes: Vec<u8> = percent_decode_str(part).collect();
    if bytes.contains(&0) {
        return Err(bad("a path contains no NUL"));
    }
    to_name(bytes).ok_or_else(|| bad("the path is not UTF-8"))
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "on other systems a name may be invalid")]
fn to_name(bytes: Vec<u8>) -> Option<OsString> {
    use std::os::unix::ffi::OsStringExt;

    Some(OsString::from_vec(bytes))
}

#[cfg(not(unix))]
fn to_name(bytes: Vec<u8>) -> Option<OsString> {
    String::from_utf8(bytes).ok().map(OsString::from)
}
