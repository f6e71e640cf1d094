//! The protocol of the file server and its client (document 003, FTP): frames of a letter, a
//! big-endian length of four bytes, and that number of bytes.
//!
//! | frame | letter | bytes | answer |
//! |---|---|---|---|
//! | `List` | `L` | none | `Ok`, or `Refused` |
//! | `Get` | `G` | the name | `Ok`, or `Refused` |
//! | `Put` | `P` | the name | `Ok`, the file from the client, then `Ok` again; or `Refused` |
//! | `Quit` | `Q` | none | the end of the connection |
//! | `Ok` | `O` | the number of bytes that follow in `Data`: eight, big-endian | |
//! | `Refused` | `E` | the reason, as text | |
//! | `Data` | `D` | some of a file or of the list | |
//! | `End` | `Z` | none: all of it has been sent | |
//!
//! A side that cannot finish a file sends `Refused` instead of `End`. A file without `End` is
//! incomplete.
//!
//! The document's programs send text without lengths, so each of them waits for ever for one that sends frames:
//! it waits for a text, and the other for the rest of a frame. That is why a prefix has to arrive in time.

pub mod content;
pub mod incoming;

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The longest frame in bytes, without letter and length.
pub const LONGEST: usize = 64 * 1024;
/// The number of bytes of letter and length.
pub const PREFIX: usize = 5;

/// The answer to a program that sends no frames: a text that fits into the `recv(128)` of the document's client.
pub const NO_FRAMES: &str = "this server needs frames with a length, which the document's client does not send: \
                             use ftp_client";

/// What to do about a program that sends no frames, or understands none.
const ADVICE: &str =
    "ftp_server and ftp_client of this example understand each other, and no others";

pub const LIBRARY_IS_EMPTY: &str = "文件库为空";
pub const NO_SUCH_FILE: &str = "文件不存在";

pub fn cannot_store(error: &io::Error) -> String {
    // An error of tempfile has no code, and contains the path of the folder, which clients must not see.
    match error.raw_os_error() {
        Some(_) => format!("文件无法保存: {error}"),
        None => format!("文件无法保存: {}", error.kind()),
    }
}

/// A message of one side to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    List,
    Get(String),
    Put(String),
    Quit,
    Ok(u64),
    Refused(String),
    Data(Vec<u8>),
    End,
}

impl Frame {
    /// Encodes the frame.
    pub fn encode(&self) -> Vec<u8> {
        let (letter, bytes) = match self {
            Self::List => (b'L', &[][..]),
            Self::Get(name) => (b'G', name.as_bytes()),
            Self::Put(name) => (b'P', name.as_bytes()),
            Self::Quit => (b'Q', &[][..]),
            Self::Ok(size) => (b'O', &size.to_be_bytes()[..]),
            Self::Refused(why) => (b'E', why.as_bytes()),
            Self::Data(bytes) => (b'D', &bytes[..]),
            Self::End => (b'Z', &[][..]),
        };
        let length = u32::try_from(bytes.len()).expect("no frame is that long");
        let mut encoded = Vec::with_capacity(PREFIX + bytes.len());
        encoded.push(letter);
        encoded.extend(length.to_be_bytes());
        encoded.extend(bytes);
        encoded
    }

    /// Decodes the first frame of `input`, and returns the number of bytes it takes; `None` if it
    /// is not complete.
    pub fn decode(input: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let Some((prefix, rest)) = input.split_first_chunk() else { return Ok(None) };
        let (letter, length) = read_prefix(*prefix)?;
        let Some(bytes) = rest.get(..length) else { return Ok(None) };
        Ok(Some((Self::of(letter, bytes.to_vec())?, PREFIX + length)))
    }

    /// Waits for a frame; `None` at the end of the stream.
    pub fn read(source: impl Read) -> io::Result<Option<Self>> {
        Self::read_in_steps(source, |_| Ok(()))
    }

    /// Waits up to `first` for a frame to begin, and up to `patience` for the rest of its prefix.
    pub fn receive(
        conn: &TcpStream,
        first: Option<Duration>,
        patience: Duration,
    ) -> io::Result<Option<Self>> {
        let received = Self::read_in_steps(conn, |step| {
            conn.set_read_timeout(match step {
                Step::First => first,
                Step::Prefix => Some(patience),
                Step::Rest => None,
            })
        });
        received.map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => silent(patience),
            _ => error,
        })
    }

    fn read_in_steps(
        mut source: impl Read,
        begin: impl Fn(Step) -> io::Result<()>,
    ) -> io::Result<Option<Self>> {
        let mut prefix = [0; PREFIX];
        begin(Step::First)?;
        if read_some(&mut source, &mut prefix[..1])? == 0 {
            return Ok(None);
        }
        begin(Step::Prefix)?;
        source.read_exact(&mut prefix[1..])?;
        begin(Step::Rest)?;
        let (letter, length) = read_prefix(prefix)?;
        let mut bytes = vec![0; length];
        source.read_exact(&mut bytes)?;
        Self::of(letter, bytes).map(Some)
    }

    /// Sends the frame, and waits until all of it is sent.
    pub fn write(&self, mut sink: impl Write) -> io::Result<()> {
        sink.write_all(&self.encode())
    }

    fn of(letter: u8, bytes: Vec<u8>) -> io::Result<Self> {
        let text = |bytes| String::from_utf8(bytes).map_err(|_| bad("text that is not UTF-8"));
        Ok(match letter {
            b'L' if bytes.is_empty() => Self::List,
            b'G' => Self::Get(text(bytes)?),
            b'P' => Self::Put(text(bytes)?),
            b'Q' if bytes.is_empty() => Self::Quit,
            b'O' => {
                Self::Ok(u64::from_be_bytes(bytes.try_into().map_err(|_| bad("a bad length"))?))
            }
            b'E' => Self::Refused(text(bytes)?),
            b'D' => Self::Data(bytes),
            b'Z' if bytes.is_empty() => Self::End,
            _ => return Err(bad(&format!("no frame: b\"{}\"", letter.escape_ascii()))),
        })
    }

    /// The error for a frame that is not allowed at this point.
    pub fn unexpected(&self) -> io::Error {
        let letter = char::from(self.encode()[0]);
        io::Error::other(format!("the other side sent {letter:?} out of place"))
    }
}

/// The steps of reading a frame.
enum Step {
    /// Its first byte.
    First,
    /// The rest of letter and length.
    Prefix,
    Rest,
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the other side sent {what}; {ADVICE}"))
}

/// The error for a frame that does not arrive.
pub fn silent(patience: Duration) -> io::Error {
    let message = format!("no whole frame has arrived for {patience:?}; {ADVICE}");
    io::Error::new(ErrorKind::TimedOut, message)
}

/// Answers a program that sends no frames; does not block.
pub fn refuse(mut conn: &TcpStream, error: &io::Error) {
    if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::TimedOut) {
        return;
    }
    let answered = conn.set_nonblocking(true).and_then(|()| conn.write_all(NO_FRAMES.as_bytes()));
    // Unread bytes would make closing reset the connection, and the answer could be lost.
    let most = 2 * LONGEST as u64;
    let _ = answered.and_then(|()| io::copy(&mut conn.take(most), &mut io::sink()));
}

fn read_prefix([letter, length @ ..]: [u8; PREFIX]) -> io::Result<(u8, usize)> {
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST {
        return Err(bad(&format!("a frame of {length} bytes; no more than {LONGEST} are allowed")));
    }
    Ok((letter, length))
}

fn read_some(mut source: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
