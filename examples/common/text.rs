//! Text that arrives in pieces, which may end within a character.

use std::mem;

/// Decodes a stream of UTF-8. The beginning of a character is kept until the rest of it arrives; bytes that
/// are not UTF-8 become `U+FFFD`.
#[derive(Default)]
pub struct Decoder {
    begun: Vec<u8>,
}

impl Decoder {
    /// Decodes the next piece; an empty one is the end of the stream, as for `recv`. Returns `None` if the
    /// piece completes no character.
    pub fn decode(&mut self, piece: &[u8]) -> Option<String> {
        let bytes = self.whole(piece);
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the bytes up to the end of the last whole character; at the end of the stream, the rest.
    pub fn whole(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut bytes = mem::take(&mut self.begun);
        if !piece.is_empty() {
            bytes.extend(piece);
            self.begun = bytes.split_off(bytes.len() - length_of_the_begun(&bytes));
        }
        bytes
    }
}

/// The length of the character at the end whose rest is missing.
fn length_of_the_begun(bytes: &[u8]) -> usize {
    let invalid = bytes.utf8_chunks().last().map_or(&[][..], |last| last.invalid());
    let is_begun = std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
    if is_begun { invalid.len() } else { 0 }
}
