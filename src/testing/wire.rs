//! Connected streams whose bytes travel through the lab, in its time.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::decisions::Kind;
use super::lab::Lab;
use super::link::Link;
use super::time::SHORTLY;
use crate::clock::nanoseconds;

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
    /// Lets no byte arrive before `duration` has passed; those under way come later.
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
    /// The errors of opening four sockets.
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
