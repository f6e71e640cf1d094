//! `WriteQueue`, compared with a plain vector, with a sink that returns what the bytes decide.

use std::io::{self, IoSlice, Write};

use polyselect::WriteQueue;

use super::bytes::Bytes;

pub fn check(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let high_water = bytes.below(64);
    let mut queue = WriteQueue::with_high_water(high_water);
    let mut waiting = Vec::new();
    let mut next = 0_u8;
    while !bytes.is_empty() {
        let mut some = |count: usize| {
            let first = next;
            next = next.wrapping_add(count as u8);
            (0..count).map(|i| first.wrapping_add(i as u8)).collect::<Vec<_>>()
        };
        match bytes.below(5) {
            0 => {
                let more = some(amount(&mut bytes));
                queue.push(&more);
                waiting.extend(more);
            }
            1 | 2 => {
                let mut sink = Sink::new(&mut bytes);
                let result = queue.flush(&mut sink);
                sink.judge(result, &mut waiting);
            }
            3 => {
                let more = some(amount(&mut bytes));
                let mut sink = Sink::new(&mut bytes);
                let result = queue.send(&mut sink, &more);
                waiting.extend(more);
                sink.judge(result, &mut waiting);
            }
            _ => {
                if bytes.byte() == 0 {
                    queue.clear();
                    waiting.clear();
                }
            }
        }
        assert_eq!((queue.len(), queue.is_empty()), (waiting.len(), waiting.is_empty()));
        assert_eq!(queue.is_high(), waiting.len() > high_water);
    }
    let mut rest = Vec::new();
    assert!(queue.clone().flush(&mut rest).expect("takes everything"));
    assert_eq!(rest, waiting);
}

/// Few or many, because the queue shrinks after it has sent many bytes.
fn amount(bytes: &mut Bytes<'_>) -> usize {
    match bytes.byte() {
        254 => 70_000,
        255 => 4_096,
        few => usize::from(few) % 64,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Takes(usize),
    Fails(io::ErrorKind),
}

struct Sink {
    script: Vec<Answer>,
    /// The last answer of the sink, if it ended the call.
    last: Option<Answer>,
    taken: Vec<u8>,
}

impl Sink {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        use Answer::{Fails, Takes};
        use io::ErrorKind::{BrokenPipe, ConnectionReset, Interrupted, WouldBlock};

        let mut script: Vec<_> = (0..bytes.below(6))
            .map(|_| match bytes.byte() {
                0 => Takes(0),
                1 => Fails(BrokenPipe),
                2 => Fails(ConnectionReset),
                3..32 => Fails(WouldBlock),
                32..64 => Fails(Interrupted),
                255 => Takes(usize::MAX),
                many if many > 200 => Takes(usize::from(many) * 100),
                few => Takes(usize::from(few) - 63),
            })
            .collect();
        script.reverse();
        Self { script, last: None, taken: Vec::new() }
    }

    fn answer(&mut self, offered: &[IoSlice<'_>]) -> io::Result<usize> {
        // The sink finally takes everything.
        let answer = self.script.pop().unwrap_or(Answer::Takes(usize::MAX));
        self.last = Some(answer);
        match answer {
            Answer::Fails(kind) => Err(kind.into()),
            Answer::Takes(most) => {
                let before = self.taken.len();
                for part in offered {
                    let room = most - (self.taken.len() - before);
                    self.taken.extend(&part[..part.len().min(room)]);
                }
                Ok(self.taken.len() - before)
            }
        }
    }

    /// Checks that the sent bytes are the front of the queued ones, and that the result agrees.
    fn judge(self, result: io::Result<bool>, waiting: &mut Vec<u8>) {
        assert!(waiting.starts_with(&self.taken), "what was sent is not what waited");
        waiting.drain(..self.taken.len());
        match result {
            Ok(true) => assert!(waiting.is_empty(), "{} bytes are not sent", waiting.len()),
            Ok(false) => assert!(self.last == Some(Answer::Fails(io::ErrorKind::WouldBlock))),
            Err(error) if error.kind() == io::ErrorKind::WriteZero => {
                assert!(self.last == Some(Answer::Takes(0)) && !waiting.is_empty());
            }
            Err(error) => assert!(self.last == Some(Answer::Fails(error.kind())), "{error}"),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.answer(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.answer(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
