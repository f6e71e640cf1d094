//! The lab's ends of its wires, and the bytes that are under way.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::link::{Link, WINDOW};
use crate::clock::Clock;
use crate::event::Events;
use crate::interest::Interest;
use crate::key::Key;
use crate::selector::Selector;

type Ends = (Selector<UnixStream, (usize, usize)>, Events);

/// All wires of a lab.
#[derive(Default)]
pub(super) struct Wires {
    pub(super) all: Vec<Carried>,
    /// Reports the ends that have bytes: their wire and side.
    selector: Option<Ends>,
    pub(super) next_arrival: Option<u64>,
}

/// The lab's ends of a wire.
pub(super) struct Carried {
    link: Link,
    ends: [Key; 2],
    /// What is under way to each end.
    to: [Direction; 2],
    pub(super) stalled_until: u64,
}

#[derive(Default)]
struct Direction {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// When the last of them has left.
    sent: u64,
    is_over: bool,
}

impl Direction {
    /// Sends bytes, or the end of the stream if there are none; those behind the place of `split` come later.
    fn send(&mut self, link: Link, now: u64, bytes: &[u8], split: Option<(usize, u64)>) {
        self.bytes += bytes.len();
        self.is_over = bytes.is_empty();
        if self.is_over {
            return self.add(link, now, bytes);
        }
        let (place, later) = split.unwrap_or((bytes.len(), 0));
        let (first, rest) = bytes.split_at(place);
        first.chunks(link.segment()).for_each(|segment| self.add(link, now, segment));
        rest.chunks(link.segment()).for_each(|segment| self.add(link, now + later, segment));
    }

    fn add(&mut self, link: Link, now: u64, bytes: &[u8]) {
        self.sent = self.sent.max(now) + link.duration(bytes.len());
        self.pieces.push_back(Piece { arrival: self.sent + link.latency, bytes: bytes.to_vec() });
    }
}

/// Bytes, or the end of the stream if there are none.
struct Piece {
    arrival: u64,
    bytes: Vec<u8>,
}

impl Wires {
    pub(super) fn at(&mut self, number: usize) -> &mut Carried {
        &mut self.all[number]
    }

    pub(super) fn add(&mut self, link: Link, [left, right]: [UnixStream; 2]) -> io::Result<usize> {
        let (selector, _) = match &mut self.selector {
            Some(selector) => selector,
            none => {
                none.insert((Selector::open(None, Clock::system())?, Events::with_capacity(256)))
            }
        };
        let number = self.all.len();
        let left = selector.register(left, Interest::READABLE, (number, 0))?;
        let right = selector.register(right, Interest::READABLE, (number, 1))?;
        let to = [Direction::default(), Direction::default()];
        self.all.push(Carried { link, ends: [left, right], to, stalled_until: 0 });
        Ok(number)
    }

    /// Takes what has been written to the ends.
    pub(super) fn collect(&mut self, now: u64, split: impl Fn(usize) -> Option<(usize, u64)>) {
        let Some((selector, events)) = &mut self.selector else { return };
        selector.select(events, Duration::ZERO).expect("a look at sockets of the lab");
        let mut ready: Vec<_> = events.iter().map(|event| event.key).collect();
        ready.sort_by_key(|key| key.slot());
        let mut buffer = vec![0; WINDOW];
        for key in ready {
            let &(number, side) = selector[key].data();
            let Carried { link, to, .. } = &mut self.all[number];
            let direction = &mut to[1 - side];
            // Until there is no more, so that the end of the stream leaves with the last bytes.
            while !direction.is_over && direction.bytes < WINDOW {
                let room = WINDOW - direction.bytes;
                let read = match selector[key].source().read(&mut buffer[..room]) {
                    Ok(read) => read,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => 0,
                };
                direction.send(*link, now, &buffer[..read], split(read));
            }
            if direction.is_over {
                selector.modify(key, Interest::empty()).expect("registered");
            }
        }
    }

    /// Hands over what has arrived.
    pub(super) fn deliver(&mut self, now: u64) {
        let Some((selector, _)) = &mut self.selector else { return };
        self.next_arrival = None;
        for Carried { ends, to, stalled_until, .. } in &mut self.all {
            for (side, direction) in to.iter_mut().enumerate() {
                while let Some(piece) = direction.pieces.front_mut() {
                    let arrival = piece.arrival.max(*stalled_until);
                    if arrival > now {
                        // A peer that has vanished is not waited for.
                        let next = (arrival < u64::MAX).then_some(arrival);
                        self.next_arrival = self.next_arrival.into_iter().chain(next).min();
                        break;
                    }
                    let mut end = selector[ends[side]].source();
                    if piece.bytes.is_empty() {
                        // It fails if the other side has gone, too.
                        end.shutdown(Shutdown::Write).ok();
                    } else {
                        match end.write(&piece.bytes) {
                            Ok(written) => {
                                direction.bytes -= written;
                                piece.bytes.drain(..written);
                                if !piece.bytes.is_empty() {
                                    continue;
                                }
                            }
                            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                            Err(_) => {
                                // The reader is gone: the writer's next write fails.
                                let sender = selector[ends[1 - side]].source();
                                sender.shutdown(Shutdown::Read).ok();
                                direction.pieces.clear();
                                direction.bytes = 0;
                                break;
                            }
                        }
                    }
                    direction.pieces.pop_front();
                }
            }
        }
    }
}
