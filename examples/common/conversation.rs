//! A client of a server that answers every message, as a worker of a thread pool serves it.

use std::io::{self, Read, Write};

use polyselect::{Interest, WriteQueue};
use socket2::Socket;

/// The text received so far, less the complete messages.
#[derive(Default)]
pub struct Conversation {
    text: Text,
    answer: WriteQueue,
}

impl Conversation {
    /// Sends the rest of an answer, else reads a message and answers it. Never blocks; returns the
    /// interest to wait for, or `None` at the end of the conversation.
    pub fn go_on(&mut self, mut sock: &Socket) -> Option<Interest> {
        match self.step(&mut sock) {
            Ok(interest) => interest,
            Err(error) if super::is_not_now(&error) => Some(self.interest()),
            Err(error) => {
                log::warn!("Error handling client {}: {error}", super::peer(sock));
                None
            }
        }
    }

    fn step(&mut self, sock: &mut &Socket) -> io::Result<Option<Interest>> {
        if self.answer.is_empty() {
            let mut data = [0; 1024];
            let n = sock.read(&mut data)?;
            if n == 0 {
                log::info!("Closing connection from {}", super::peer(sock));
                return Ok(None);
            }
            let text = self.text.decode(&data[..n]);
            log::info!("Received data from {}: {text}", super::peer(sock));
            self.answer.push(b"Server received your message.");
        }
        self.answer.flush(sock as &mut dyn Write)?;
        Ok(Some(self.interest()))
    }

    fn interest(&self) -> Interest {
        if self.answer.is_empty() { Interest::READABLE } else { Interest::WRITABLE }
    }
}

/// Text that comes in pieces, which may end within a character.
#[derive(Default)]
pub struct Text {
    /// The beginning of a character whose rest has not arrived.
    half_a_character: Vec<u8>,
}

impl Text {
    /// Decodes these bytes together with what earlier ones left over.
    pub fn decode(&mut self, data: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.half_a_character);
        bytes.extend(data);
        self.half_a_character = split_off_half_a_character(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Splits off the last bytes if they begin a character whose rest has not arrived.
pub fn split_off_half_a_character(bytes: &mut Vec<u8>) -> Vec<u8> {
    let invalid = bytes.utf8_chunks().last().map_or(&[][..], |last| last.invalid());
    let is_half = std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
    let half = if is_half { invalid.len() } else { 0 };
    bytes.split_off(bytes.len() - half)
}
