//! One connection of the load: it sends messages, checks the replies, and leaves.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use polyselect_benches::Pattern;
use rustix::net::sockopt::set_socket_linger;

/// How a connection leaves after its last message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Closed after the last reply.
    Close,
    /// Shut down for writing after the last message; then it waits for the reply and the end of the stream.
    HalfClose,
    /// As `Close`, with a reset.
    Reset,
    /// Closed in the middle of a message.
    Break,
    /// Reset in the middle of a message.
    BreakAndReset,
    /// Sends nothing more until the server's idle timer ends it.
    Silence,
}

impl Manner {
    pub fn name(self) -> &'static str {
        match self {
            Self::Close => "closed",
            Self::HalfClose => "half-closed",
            Self::Reset => "reset",
            Self::Break => "closed within a message",
            Self::BreakAndReset => "reset within a message",
            Self::Silence => "silent",
        }
    }
}

/// The state of a connection after the work of an event.
pub enum Step {
    Stays,
    Left(Manner),
    /// The idle timer ended it although it was active: a reply, or this process, was too slow.
    TooSlow,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Talking,
    /// Sends its last message, and has shut down behind it if so.
    LastWords {
        shut: bool,
    },
    Silent,
}

#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    number: u64,
    manner: Manner,
    messages_left: u32,
    stage: Stage,
    /// All three count bytes since the beginning.
    wanted: u64,
    sent: u64,
    received: u64,
    /// When its message began, and how long that is.
    asked: (Instant, u64),
    /// When it sent something for the last time, before it did.
    last_sent: Instant,
    /// The same, of what has been answered. The server's timer was set later.
    last_heard: Instant,
    pub last_progress: Instant,
}

/// The state that all clients share.
pub struct Shared {
    pub pattern: Pattern,
    pub buffer: Vec<u8>,
    pub random: fastrand::Rng,
    /// How long the server lets a connection be idle.
    pub idle: Duration,
    /// No client leaves before all are connected, and none stays after the end of the run.
    pub stay: Stay,
    pub tally: Tally,
}

/// Counters of the connections.
#[derive(Default)]
pub struct Tally {
    pub opened: u64,
    pub messages: u64,
    pub bytes: u64,
    /// From the first byte of a short message to the last of its answer.
    pub longest_wait: Duration,
    /// How many left in which manner.
    pub left: BTreeMap<&'static str, u64>,
    /// Active connections that the idle timer ended.
    pub too_slow: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    UntilAllHaveCome,
    AsLongAsMeant,
    NoLonger,
}

impl Client {
    /// The stream is connected, or about to be, since `begun` or later.
    pub fn new(stream: TcpStream, number: u64, begun: Instant, random: &mut fastrand::Rng) -> Self {
        let manner = match random.u32(..100) {
            0..30 => Manner::Close,
            30..60 => Manner::HalfClose,
            60..75 => Manner::Reset,
            75..87 => Manner::Break,
            87..99 => Manner::BreakAndReset,
            _ => Manner::Silence,
        };
        Self {
            stream,
            number,
            manner,
            messages_left: random.u32(..=100),
            stage: Stage::Talking,
            wanted: 0,
            sent: 0,
            received: 0,
            asked: (begun, 0),
            last_sent: begun,
            last_heard: begun,
            last_progress: begun,
        }
    }

    /// Whether the server may not have accepted it yet.
    pub fn is_newcomer(&self) -> bool {
        self.stage == Stage::Talking && self.received == 0
    }

    /// Reads and writes as far as possible. An error is a fault of the server.
    pub fn step(&mut self, shared: &mut Shared) -> io::Result<Step> {
        if let Some(step) = self.receive(shared)? {
            return Ok(step);
        }
        if self.stage == Stage::Talking && self.received == self.wanted {
            self.last_heard = self.last_sent;
            if self.wanted > 0 && shared.stay != Stay::UntilAllHaveCome {
                shared.tally.messages += 1;
                let (asked, length) = self.asked;
                if length <= SHORT {
                    let longest = &mut shared.tally.longest_wait;
                    *longest = asked.elapsed().max(*longest);
                }
            }
            let leaves = match shared.stay {
                // They would only delay the clients that are not connected yet.
                Stay::UntilAllHaveCome if self.wanted > 0 => return Ok(Step::Stays),
                Stay::UntilAllHaveCome => false,
                Stay::AsLongAsMeant => self.messages_left == 0,
                Stay::NoLonger => true,
            };
            if leaves {
                match self.manner {
                    Manner::Close => return Ok(Step::Left(self.manner)),
                    Manner::Reset => return self.leave_with_reset(),
                    Manner::Break | Manner::BreakAndReset => return self.break_off(shared),
                    Manner::HalfClose => self.stage = Stage::LastWords { shut: false },
                    Manner::Silence => {
                        self.stage = Stage::Silent;
                        return Ok(Step::Stays);
                    }
                }
            }
            self.messages_left = self.messages_left.saturating_sub(1);
            let length = length(&mut shared.random);
            self.wanted += length;
            self.asked = (Instant::now(), length);
        }
        match self.send(shared) {
            Err(error) => self.ended(&error, shared.idle),
            Ok(()) => Ok(Step::Stays),
        }
    }

    /// Checks all received bytes until the read would block, because an end of the stream that arrives with them has no
    /// event of its own.
    fn receive(&mut self, shared: &mut Shared) -> io::Result<Option<Step>> {
        loop {
            let length = match (&self.stream).read(&mut shared.buffer) {
                Ok(0) => {
                    let end = ErrorKind::UnexpectedEof.into();
                    return self.ended(&end, shared.idle).map(Some);
                }
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.ended(&error, shared.idle).map(Some),
            };
            let expected = shared.pattern.part(self.number, self.received, length);
            if shared.buffer[..length] != *expected {
                return Err(self.wrong("a wrong byte came back"));
            }
            self.received += length as u64;
            if self.received > self.sent {
                return Err(self.wrong("more came back than was sent"));
            }
            shared.tally.bytes += length as u64;
            self.last_progress = Instant::now();
        }
    }

    /// Sends the permitted bytes as far as the socket takes them.
    fn send(&mut self, shared: &Shared) -> io::Result<()> {
        while self.sent < self.wanted {
            let length = (self.wanted - self.sent).min(Pattern::LONGEST as u64) as usize;
            let bytes = shared.pattern.part(self.number, self.sent, length);
            let now = Instant::now();
            match (&self.stream).write(bytes) {
                Ok(written) => {
                    self.sent += written as u64;
                    (self.last_sent, self.last_progress) = (now, now);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.stage == (Stage::LastWords { shut: false }) {
            self.stream.shutdown(Shutdown::Write)?;
            self.stage = Stage::LastWords { shut: true };
        }
        Ok(())
    }

    /// Sends half of a message if there is room, and does not wait for a reply.
    fn break_off(&mut self, shared: &mut Shared) -> io::Result<Step> {
        let length = (length(&mut shared.random) / 2).min(Pattern::LONGEST as u64);
        let bytes = shared.pattern.part(self.number, self.sent, length as usize);
        match (&self.stream).write(bytes) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => self.ended(&error, shared.idle),
            _ if self.manner == Manner::BreakAndReset => self.leave_with_reset(),
            _ => Ok(Step::Left(self.manner)),
        }
    }

    fn leave_with_reset(&self) -> io::Result<Step> {
        set_socket_linger(&self.stream, Some(Duration::ZERO))?;
        Ok(Step::Left(self.manner))
    }

    /// Returns whether the server may end it now.
    fn ended(&self, how: &io::Error, idle: Duration) -> io::Result<Step> {
        let is_end = how.kind() == ErrorKind::UnexpectedEof;
        let was_idle = self.last_heard.elapsed() >= idle;
        match self.stage {
            Stage::LastWords { shut: true } if is_end && self.received == self.wanted => {
                Ok(Step::Left(self.manner))
            }
            Stage::Silent if is_end && was_idle => Ok(Step::Left(self.manner)),
            Stage::Talking | Stage::LastWords { .. } if was_idle => Ok(Step::TooSlow),
            _ => Err(self.wrong(&format!("it ended too early ({how})"))),
        }
    }

    /// Returns an error with the state of this connection.
    pub fn wrong(&self, what: &str) -> io::Error {
        io::Error::other(format!("{what}: {self:?}"))
    }
}

/// No longer than what a server reads at once.
const SHORT: u64 = 2000;

/// Of a message: most are short, some are more than sockets take at once.
fn length(random: &mut fastrand::Rng) -> u64 {
    match random.u32(..256) {
        0 => random.u64(1..=300_000),
        1..16 => random.u64(1..=20_000),
        16..100 => random.u64(1..=SHORT),
        _ => random.u64(1..=100),
    }
}
