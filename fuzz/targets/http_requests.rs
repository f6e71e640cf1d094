//! Requests to the HTTP server: their ends, paths and ranges.

use std::path::{Component, Path};

use super::bytes::Bytes;
use super::sources::path::RequestPath;
use super::sources::range::{Range, Selected};
use super::sources::request::{LONGEST_HEAD, parse};

pub fn check(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    match bytes.below(4) {
        0 | 1 => {
            let cut = bytes.below(256);
            requests(bytes.take(usize::MAX), cut);
        }
        2 => {
            if let Ok(text) = std::str::from_utf8(bytes.take(usize::MAX)) {
                a_path(text);
            }
        }
        _ => {
            let length = bytes.number();
            if let Ok(field) = std::str::from_utf8(bytes.take(usize::MAX)) {
                a_range(field, length);
            }
        }
    }
}

fn requests(mut input: &[u8], cut: usize) {
    loop {
        match parse(input) {
            Ok(Some((request, length))) => {
                assert!(0 < length && length <= input.len().min(LONGEST_HEAD));
                // The result does not depend on the bytes that follow, and no prefix is complete.
                let (alone, same) =
                    parse(&input[..length]).expect("as before").expect("is complete");
                assert_eq!((alone.line.as_str(), same), (request.line.as_str(), length));
                let part = &input[..length - 1 - cut.min(length - 1)];
                assert!(parse(part).expect("its beginning is right").is_none());

                assert!(!request.line.contains(['\r', '\n']), "{:?}", request.line);
                a_path(request.uri.path());
                if let Some(field) = request.range {
                    a_range(&field, cut as u64);
                }
                input = &input[length..];
            }
            Ok(None) => return assert!(input.len() < LONGEST_HEAD),
            Err(refusal) => {
                let status = refusal.status;
                assert!(status.is_client_error() || status.is_server_error(), "{status}");
                return;
            }
        }
    }
}

fn a_path(text: &str) {
    let Ok(path) = RequestPath::parse(text) else { return };
    let relative = path.to_path();
    let stays_inside = relative == Path::new(".")
        || relative.components().all(|part| matches!(part, Component::Normal(_)));
    assert!(stays_inside, "{text:?} leads to {}", relative.display());
    assert!(!relative.as_os_str().as_encoded_bytes().contains(&0));

    let uri = path.to_folder_uri();
    let again = RequestPath::parse(&uri).unwrap_or_else(|_| panic!("{uri} from {text:?}"));
    assert!(again.is_folder && again.to_path() == relative, "{uri} from {text:?}");
    uri.parse::<http::Uri>().unwrap_or_else(|error| panic!("{uri} from {text:?}: {error}"));
}

fn a_range(field: &str, length: u64) {
    let Some(range) = Range::parse(field) else { return };
    for length in [length, length % 1000, 0, 1, u64::MAX] {
        match range.of(length) {
            Selected::All => panic!("{field:?} is a range"),
            Selected::Part { first, last } => {
                assert!(first <= last && last < length, "{field:?} of {length}: {first}-{last}");
            }
            Selected::Nothing => {}
        }
    }
}
