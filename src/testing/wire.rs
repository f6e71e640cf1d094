//! Connected streams whose bytes travel through the lab, in its time.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::decisions::Kind;
use super::lab::Lab;
use super::poller::SHORTLY;
use super::time::nanoseconds;
use crate::clock::Clock;
use crate::event::Events;
use crate::interest::Interest;
use crate::key::Key;
use crate::selector::Selector;

/// How many bytes are under way in one direction at most.
const WINDOW: usize = 64 * 1024;

/// How long bytes take, and how many there can be in a time.
///
/// ```
/// use polyselect::testing::Link;
/// use std::time::Duration;
///
/// let link = Link::new().latency(Duration::from_millis(20)).bandwidth(1_000_000);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Link {
    latency: u64,
    bytes_per_second: Option<u64>,
}

impl Link {
    /// Returns a link on which bytes take no time.
    ///
    /// See [`Link`] for an example.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long a byte takes from one end to the other.
    ///
    /// See [`Link`] for an example.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = nanoseconds(latency);
        self
    }

    /// Sets how many bytes pass in a second, at least one; by default as many as there are.
    ///
    /// See [`Link`] for an example.
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bytes_per_second = Some(bytes_per_second.max(1));
        self
    }

    fn duration(&self, bytes: usize) -> u64 {
        let per_second = self.bytes_per_second.unwrap_or(u64::MAX);
        (bytes as u64).saturating_mul(1_000_000_000) / per_second
    }

    /// How many bytes arrive together at most: where they take time, as many as a packet of Ethernet holds.
    fn segment(&self) -> usize {
        if self.bytes_per_second.is_some() { 1_460 } else { WINDOW }
    }
}

/// The connection between two streams of [`Lab::stream_pair`].
///
/// It can be dropped: the streams stay connected.
///
/// See [`Lab::stream_pair`] for an example.
#[derive(Debug)]
pub struct Wire {
    lab: Lab,
    number: usize,
}

impl Wire {
    /// Lets no byte arrive for so long; those under way come later.
    ///
    /// See [`Lab::stream_pair`] for an example.
    pub fn stall(&self, duration: Duration) {
        let end = self.lab.state().time.now().saturating_add(nanoseconds(duration));
        self.lab.wires().at(self.number).stalled_until = end;
    }

    /// Lets no byte and no end of a stream arrive any more, as when a peer loses its power: each end sees a peer that
    /// is silent.
    ///
    /// ```
    /// # #[cfg(feature = "async")] {
    /// use polyselect::testing::{Disorder, Lab, Link};
    /// use polyselect::{EventLoop, asyncio};
    /// use std::time::Duration;
    ///
    /// let lab = Lab::new(1, Disorder::none());
    /// let (client, server, wire) = lab.stream_pair(Link::new())?;
    /// let client = asyncio::Async::new(client)?;
    /// let mut event_loop = EventLoop::in_lab(&lab, ())?;
    /// wire.vanish();
    /// drop(server);
    /// let answer = asyncio::timeout(Duration::from_secs(3600), async { client.read(&mut [0; 8]).await });
    /// assert!(event_loop.block_on(answer)?.is_err());
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn vanish(&self) {
        self.lab.wires().at(self.number).stalled_until = u64::MAX;
    }
}

impl Lab {
    /// Returns two connected streams whose bytes travel as the link says, in the time of the lab, and what connects
    /// them. The streams are non-blocking.
    ///
    /// They are sockets of the kernel's, so that every type can own them:
    /// `TcpStream::from(OwnedFd::from(stream))` reads and writes, too. Bytes arrive in pieces as the lab's
    /// [`Disorder::delay`](super::Disorder::delay) decides.
    ///
    /// # Errors
    ///
    /// Those of opening four sockets.
    ///
    /// ```
    /// # #[cfg(feature = "async")] {
    /// use polyselect::testing::{Disorder, Lab, Link};
    /// use polyselect::{EventLoop, asyncio};
    /// use std::time::Duration;
    ///
    /// let lab = Lab::new(1, Disorder::none());
    /// let link = Link::new().latency(Duration::from_millis(20));
    /// let (client, server, wire) = lab.stream_pair(link)?;
    /// let (client, server) = (asyncio::Async::new(client)?, asyncio::Async::new(server)?);
    /// wire.stall(Duration::from_secs(5));
    /// EventLoop::in_lab(&lab, ())?.block_on(async {
    ///     client.write_all(b"ping").await?;
    ///     server.read_exact(&mut [0; 4]).await
    /// })??;
    /// assert_eq!(lab.elapsed(), Duration::from_secs(5));
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stream_pair(&self, link: Link) -> io::Result<(UnixStream, UnixStream, Wire)> {
        let (left, carried_left) = UnixStream::pair()?;
        let (right, carried_right) = UnixStream::pair()?;
        for stream in [&left, &right, &carried_left, &carried_right] {
            stream.set_nonblocking(true)?;
        }
        let number = self.wires().add(link, [carried_left, carried_right])?;
        Ok((left, right, Wire { lab: self.clone(), number }))
    }

    /// Moves the bytes whose time has come.
    pub(super) fn move_bytes(&self) {
        let mut wires = self.wires();
        if wires.all.is_empty() {
            return;
        }
        let now = self.state().time.now();
        let split = |length: usize| {
            let bound = (length as u64).saturating_sub(1);
            let chance = if bound > 0 { self.disorder().delay } else { 0 };
            let (decision, first) = self.decide_below(chance, Kind::Split, bound)?;
            Some((first as usize + 1, decision.below(SHORTLY)))
        };
        wires.collect(now, split);
        wires.deliver(now);
    }

    /// The moment at which the next bytes arrive.
    pub(super) fn next_arrival(&self) -> Option<u64> {
        self.wires().next_arrival
    }
}

type Ends = (Selector<UnixStream, (usize, usize)>, Events);

/// All wires of a lab.
#[derive(Default)]
pub(super) struct Wires {
    all: Vec<Carried>,
    /// Tells which ends have bytes: their wire and side.
    selector: Option<Ends>,
    next_arrival: Option<u64>,
}

/// The lab's ends of a wire.
pub(super) struct Carried {
    link: Link,
    ends: [Key; 2],
    /// What is under way to each end.
    to: [Direction; 2],
    stalled_until: u64,
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
    fn at(&mut self, number: usize) -> &mut Carried {
        &mut self.all[number]
    }

    fn add(&mut self, link: Link, [left, right]: [UnixStream; 2]) -> io::Result<usize> {
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
    fn collect(&mut self, now: u64, split: impl Fn(usize) -> Option<(usize, u64)>) {
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
    fn deliver(&mut self, now: u64) {
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
                                // Nobody reads any more: the writer's next write fails.
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
