//! [`WriteQueue`]: bytes that a non-blocking sink has not taken yet.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

/// Bytes on their way to a sink that may take only some of them at a time.
///
/// A write to a non-blocking socket takes as many bytes as fit. The rest belongs here, and is sent
/// when the socket is writable again: include `WRITABLE` while [`flush`](Self::flush) returns
/// `false`, and only then.
///
/// The queue has no limit. A peer that sends requests and never reads would fill the memory, so
/// stop reading from it while [`is_high`](Self::is_high) reports that more is queued than the high-water
/// mark.
///
/// ```
/// # #[cfg(unix)] {
/// use polyselect::{Interest, WriteQueue};
/// use std::os::unix::net::UnixStream;
///
/// let (stream, _peer) = UnixStream::pair()?;
/// stream.set_nonblocking(true)?;
///
/// let mut queue = WriteQueue::new();
/// queue.push(b"hello");
/// let interest = if queue.flush(&stream)? { Interest::READABLE } else { Interest::WRITABLE };
/// assert_eq!(interest, Interest::READABLE);
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct WriteQueue {
    bytes: VecDeque<u8>,
    high_water: usize,
}

impl WriteQueue {
    /// The high-water mark of [`new`](Self::new): 64 KiB, as Python's asyncio has it.
    ///
    /// ```
    /// assert_eq!(polyselect::WriteQueue::HIGH_WATER, 65_536);
    /// ```
    pub const HIGH_WATER: usize = 64 * 1024;

    /// What an empty queue keeps of its memory.
    const KEPT: usize = 64 * 1024;

    /// An empty queue. It allocates with the first byte.
    ///
    /// ```
    /// assert!(polyselect::WriteQueue::new().is_empty());
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self::with_high_water(Self::HIGH_WATER)
    }

    /// An empty queue that counts as high from `bytes` on. Zero makes every byte that waits count.
    ///
    /// ```
    /// use polyselect::WriteQueue;
    ///
    /// let mut queue = WriteQueue::with_high_water(4);
    /// queue.push(b"1234");
    /// assert!(!queue.is_high());
    /// queue.push(b"5");
    /// assert!(queue.is_high());
    /// ```
    #[must_use]
    pub const fn with_high_water(bytes: usize) -> Self {
        Self { bytes: VecDeque::new(), high_water: bytes }
    }

    /// Adds bytes at the end.
    ///
    /// ```
    /// use polyselect::WriteQueue;
    ///
    /// let mut queue = WriteQueue::new();
    /// queue.push(b"hello, ");
    /// queue.push(b"world");
    /// assert_eq!(queue.len(), 12);
    /// ```
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Writes as much as the sink takes, and returns whether the queue is empty.
    ///
    /// `false` means that the sink would block: try again when it is writable. The sink is anything
    /// that is `Write`, most often a shared reference to a stream. Does not block if the sink does
    /// not; one `writev` while the sink takes everything.
    ///
    /// # Errors
    ///
    /// The sink's error, except `WouldBlock` (returns `Ok(false)`) and `Interrupted` (writes again);
    /// `WriteZero` if the sink takes no bytes and returns no error. Unwritten bytes stay in the queue.
    ///
    /// ```
    /// use polyselect::WriteQueue;
    ///
    /// let mut queue = WriteQueue::new();
    /// queue.push(b"hello");
    /// let mut sink = Vec::new();
    /// assert!(queue.flush(&mut sink)?);
    /// assert_eq!(sink, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn flush(&mut self, mut sink: impl Write) -> io::Result<bool> {
        while !self.bytes.is_empty() {
            let (front, back) = self.bytes.as_slices();
            let result = if back.is_empty() {
                sink.write(front)
            } else {
                sink.write_vectored(&[IoSlice::new(front), IoSlice::new(back)])
            };
            match result {
                Ok(0) => {
                    let message = format!("the sink takes no more, with {} bytes left", self.len());
                    return Err(io::Error::new(io::ErrorKind::WriteZero, message));
                }
                Ok(written) => drop(self.bytes.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.bytes.capacity() > Self::KEPT {
            self.bytes.shrink_to(Self::KEPT);
        }
        Ok(true)
    }

    /// Writes the queued bytes and then `bytes`, and queues the rest that the sink does not take. Returns,
    /// as [`flush`](Self::flush) does, whether the queue is empty. While the sink keeps up, nothing is
    /// copied.
    ///
    /// # Errors
    ///
    /// The errors of [`flush`](Self::flush). The bytes that the sink did not take are in the queue.
    ///
    /// ```
    /// use polyselect::WriteQueue;
    ///
    /// let mut queue = WriteQueue::new();
    /// let mut sink = Vec::new();
    /// assert!(queue.send(&mut sink, b"hello")?);
    /// assert_eq!(sink, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send(&mut self, mut sink: impl Write, mut bytes: &[u8]) -> io::Result<bool> {
        if self.bytes.is_empty() {
            match sink.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.push(bytes);
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.push(bytes);
                    return Err(error);
                }
            }
        }
        self.push(bytes);
        self.flush(sink)
    }

    /// How many bytes wait.
    ///
    /// See [`push`](Self::push) for an example.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing waits.
    ///
    /// See [`new`](Self::new) for an example.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether more waits than the high-water mark. See
    /// [`with_high_water`](Self::with_high_water) for an example.
    #[must_use]
    pub fn is_high(&self) -> bool {
        self.bytes.len() > self.high_water
    }

    /// Drops the queued bytes, and frees their memory.
    ///
    /// ```
    /// let mut queue = polyselect::WriteQueue::new();
    /// queue.push(b"never mind");
    /// queue.clear();
    /// assert!(queue.is_empty());
    /// ```
    pub fn clear(&mut self) {
        self.bytes = VecDeque::new();
    }
}

impl Default for WriteQueue {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sink whose writes take the number of bytes of the next entry, or fail with its error.
    struct Script(Vec<Result<usize, io::ErrorKind>>, Vec<u8>);

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = self.0.remove(0)?.min(bytes.len());
            self.1.extend(&bytes[..most]);
            Ok(most)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_sink_does_not_take_stays_in_order() {
        use io::ErrorKind::{BrokenPipe, Interrupted, WouldBlock};

        let mut queue = WriteQueue::new();
        let steps =
            [Ok(3), Err(Interrupted), Ok(1), Err(WouldBlock), Ok(2), Err(BrokenPipe), Ok(0)];
        let mut sink = Script(steps.to_vec(), Vec::new());
        queue.push(b"abcdefgh");
        assert!(!queue.flush(&mut sink).unwrap());
        assert_eq!((queue.len(), &sink.1[..]), (4, &b"abcd"[..]));
        queue.push(b"ij");
        assert_eq!(queue.flush(&mut sink).unwrap_err().kind(), BrokenPipe);
        assert_eq!((queue.len(), &sink.1[..]), (4, &b"abcdef"[..]));
        assert_eq!(queue.flush(&mut sink).unwrap_err().kind(), io::ErrorKind::WriteZero);
        let mut rest = Vec::new();
        assert!(queue.flush(&mut rest).unwrap());
        assert_eq!(rest, b"ghij");
    }

    #[test]
    fn send_keeps_the_order_and_what_fails() {
        use io::ErrorKind::{BrokenPipe, Interrupted, WouldBlock};

        for (steps, gone) in [
            (vec![Ok(9)], true),
            (vec![Ok(2), Err(WouldBlock)], false),
            (vec![Err(WouldBlock)], false),
            (vec![Err(Interrupted), Ok(1), Ok(9)], true),
        ] {
            let (mut queue, mut sink) = (WriteQueue::new(), Script(steps, Vec::new()));
            assert_eq!(queue.send(&mut sink, b"abcd").unwrap(), gone);
            queue.flush(&mut sink.1).unwrap();
            assert_eq!(sink.1, b"abcd");
        }
        let (mut queue, mut sink) = (WriteQueue::new(), Script(vec![Err(BrokenPipe)], Vec::new()));
        assert_eq!(queue.send(&mut sink, b"abcd").unwrap_err().kind(), BrokenPipe);
        assert_eq!(queue.len(), 4);
    }

    #[test]
    fn a_drained_queue_gives_back_the_memory_of_its_peak() {
        let mut queue = WriteQueue::new();
        queue.push(&[0; 10 * WriteQueue::KEPT]);
        assert!(queue.flush(io::sink()).unwrap());
        assert!(queue.bytes.capacity() <= WriteQueue::KEPT);
    }
}
