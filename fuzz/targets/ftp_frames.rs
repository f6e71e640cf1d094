//! The frames of the file server and its client, and the names in its library.

use std::fs;
use std::io;

use super::bytes::Bytes;
use super::sources::common::ftp::content::Content;
use super::sources::common::ftp::{Frame, PREFIX};
use super::sources::library::Library;

pub fn check(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    match bytes.below(2) {
        0 => {
            let cut = bytes.below(256);
            frames(bytes.take(usize::MAX), cut);
        }
        _ => {
            if let Ok(name) = std::str::from_utf8(bytes.take(usize::MAX)) {
                a_name(name);
            }
        }
    }
}

fn frames(input: &[u8], cut: usize) {
    let mut rest = input;
    loop {
        let decoded = Frame::decode(rest);
        let read = Frame::read(rest);
        match decoded {
            Ok(Some((frame, length))) => {
                assert!((PREFIX..=rest.len()).contains(&length));
                assert_eq!(frame.encode(), rest[..length], "{frame:?}");
                assert_eq!(read.expect("as decoded"), Some(frame));
                let part = &rest[..cut.min(length - 1)];
                assert!(Frame::decode(part).expect("its beginning is right").is_none());
                rest = &rest[length..];
            }
            // Incomplete: a blocking read finds the end of the stream.
            Ok(None) => {
                match read {
                    Ok(frame) => assert!(frame.is_none() && rest.is_empty()),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
                }
                return;
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                let same = read.expect_err("as decoded");
                // The stream may end before the frame that is too long or has an unknown letter.
                assert!(same.kind() == error.kind() || same.kind() == io::ErrorKind::UnexpectedEof);
                return;
            }
        }
    }
}

/// Whatever its name, a file is written to the folder and nowhere else, and can be read again.
fn a_name(name: &str) {
    const TEXT: &[u8] = b"some text";

    let outer = tempfile::tempdir().expect("there is room");
    let folder = outer.path().join("library");
    fs::create_dir(&folder).expect("there is room");
    fs::write(outer.path().join("secret"), "of another folder").expect("there is room");
    let library = Library::open(&folder).expect("is a folder");

    assert!(library.get(name).is_err(), "{name:?} is there before it was sent");
    let stored = library.put(name).is_ok_and(|mut upload| {
        upload.write(TEXT);
        upload.finish() == Frame::Ok(0)
    });
    let found: Vec<_> = fs::read_dir(&folder).expect("is a folder").flatten().collect();
    if stored {
        assert!(found.len() == 1 && found[0].file_name() == name, "{name:?}: {found:?}");
        assert_eq!(whole(library.get(name)), TEXT);
        assert_eq!(whole(library.list()), format!("{name}\n").into_bytes());
        assert!(!name.contains(['/', '\n', '\r']) && !name.starts_with('.'));
        assert!(library.put(name).is_err(), "{name:?} was replaced");
    } else {
        assert!(found.is_empty(), "{name:?}: {found:?}");
    }
    assert_eq!(fs::read_dir(outer.path()).expect("is a folder").count(), 2, "{name:?}");
}

fn whole(content: Result<Content, String>) -> Vec<u8> {
    let mut content = content.expect("is there");
    let mut bytes = Vec::new();
    loop {
        match content.next_frame() {
            Frame::Data(more) => bytes.extend(more),
            Frame::End => return bytes,
            other => panic!("{other:?}"),
        }
    }
}
