//! [`StreamReader`] and [`StreamWriter`]: asyncio's pair.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::panic::Location;
use std::rc::Rc;
use std::task::{Poll, Waker};

use rustix::fd::AsFd;

use super::runtime::Runtime;
use super::source::Async;
use crate::WriteQueue;

impl<S: AsFd + 'static> Async<S>
where
    for<'a> &'a S: Read + Write,
{
    /// A reader with a buffer and a writer with a queue, for two tasks or for one.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use polyselect::{EventLoop, asyncio::Async};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (left, right) = UnixStream::pair()?;
    /// let (mut reader, mut writer) = Async::new(left)?.split();
    /// let (_, mut peer) = Async::new(right)?.split();
    /// EventLoop::new(())?.block_on(async {
    ///     peer.write(b"first\nsecond\n")?;
    ///     assert_eq!(reader.read_line().await?, b"first\n");
    ///     assert_eq!(reader.read_line().await?, b"second\n");
    ///     writer.write(b"both are here")?;
    ///     writer.drain().await
    /// })??;
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn split(self) -> (StreamReader<S>, StreamWriter<S>) {
        let reader = StreamReader {
            source: self.clone(),
            buffer: Vec::new(),
            taken: 0,
            filled: 0,
            limit: WriteQueue::HIGH_WATER,
        };
        (reader, StreamWriter(Rc::new(Outgoing::new(self))))
    }
}

/// Reads from a source by way of a buffer: from [`Async::split`].
///
/// Cancelling a read loses nothing: what has come stays in the buffer.
pub struct StreamReader<S: AsFd + 'static> {
    source: Async<S>,
    buffer: Vec<u8>,
    /// Up to here the buffer has been handed out.
    taken: usize,
    /// Up to here it holds what has come; the rest is room.
    filled: usize,
    limit: usize,
}

impl<S: AsFd + 'static> StreamReader<S>
where
    for<'a> &'a S: Read,
{
    /// How long a line may be: 64 KiB at first, as in Python.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # let (left, right) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, _writer) = Async::new(left)?.split();
    /// # let (_, mut peer) = Async::new(right)?.split();
    /// # EventLoop::new(())?.block_on(async {
    /// reader.set_limit(4);
    /// peer.write(b"too long\n")?;
    /// let error = reader.read_line().await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    /// # std::io::Result::Ok(()) })??; }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Reads what there is, as much as fits; zero bytes are the end of the stream.
    ///
    /// # Errors
    ///
    /// As [`Async::read`].
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # let (left, right) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, _writer) = Async::new(left)?.split();
    /// # drop(right);
    /// # EventLoop::new(())?.block_on(async {
    /// let mut buffer = [0; 100];
    /// assert_eq!(reader.read(&mut buffer).await?, 0);
    /// # std::io::Result::Ok(()) })??; }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.waiting().is_empty() {
            return self.source.read(buffer).await;
        }
        let n = self.waiting().len().min(buffer.len());
        buffer[..n].copy_from_slice(self.take(n));
        Ok(n)
    }

    /// Reads so many bytes. They can be looked at until the next read.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the stream ends before, with what came left in the buffer; and as
    /// [`Async::read`].
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # let (left, right) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, _writer) = Async::new(left)?.split();
    /// # let (_, mut peer) = Async::new(right)?.split();
    /// # EventLoop::new(())?.block_on(async {
    /// peer.write(b"\x00\x05hello")?;
    /// let length = reader.read_exact(2).await?[1];
    /// assert_eq!(reader.read_exact(length.into()).await?, b"hello");
    /// # std::io::Result::Ok(()) })??; }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_exact(&mut self, bytes: usize) -> io::Result<&[u8]> {
        while self.waiting().len() < bytes {
            if self.read_more().await? == 0 {
                let came = self.waiting().len();
                let message = format!("the stream ended after {came} of {bytes} bytes");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
        }
        Ok(self.take(bytes))
    }

    /// Reads up to and including a newline. It can be looked at until the next read. What comes after
    /// the last newline is a line without one, and after that comes an empty one.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the line is longer than [`set_limit`](Self::set_limit) allows, with what came
    /// left in the buffer; and as [`Async::read`].
    ///
    /// See [`Async::split`] for an example.
    pub async fn read_line(&mut self) -> io::Result<&[u8]> {
        let mut searched = 0;
        let length = loop {
            let waiting = self.waiting();
            if let Some(place) = waiting[searched..].iter().position(|&byte| byte == b'\n') {
                break searched + place + 1;
            }
            searched = waiting.len();
            if searched > self.limit {
                break searched;
            }
            if self.read_more().await? == 0 {
                break searched;
            }
        };
        if length > self.limit {
            let message = format!("a line is longer than {} bytes", self.limit);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(self.take(length))
    }

    /// Adds what comes next to the buffer.
    async fn read_more(&mut self) -> io::Result<usize> {
        const CHUNK: usize = 8 * 1024;

        self.buffer.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        if self.buffer.len() < self.filled + CHUNK {
            self.buffer.resize(self.filled + CHUNK, 0);
        }
        let came = self.source.read(&mut self.buffer[self.filled..]).await?;
        self.filled += came;
        Ok(came)
    }

    /// Hands out the next so many bytes, which are there.
    fn take(&mut self, bytes: usize) -> &[u8] {
        let begin = self.taken;
        self.taken += bytes;
        &self.buffer[begin..self.taken]
    }
}

impl<S: AsFd + 'static> StreamReader<S> {
    /// What has come and has not been handed out.
    fn waiting(&self) -> &[u8] {
        &self.buffer[self.taken..self.filled]
    }
}

impl<S: AsFd + fmt::Debug + 'static> fmt::Debug for StreamReader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader")
            .field("source", &self.source)
            .field("buffered", &self.waiting().len())
            .finish()
    }
}

/// Writes to a source by way of a queue: from [`Async::split`].
///
/// What the source does not take at once is sent by the loop, also after this is dropped. Nothing
/// bounds the queue but [`drain`](Self::drain): await it after writing, and a peer that does not read
/// cannot fill the memory.
pub struct StreamWriter<S: AsFd + 'static>(Rc<Outgoing<S>>);

/// Shared by the writer and the coroutine that sends what is left.
struct Outgoing<S: AsFd + 'static> {
    source: Async<S>,
    queue: RefCell<WriteQueue>,
    high_water: Cell<usize>,
    /// Whether a coroutine is sending.
    is_sending: Cell<bool>,
    failure: Cell<Option<io::Error>>,
    has_failed: Cell<bool>,
    /// Who waits for the queue to get shorter.
    waiting: Cell<Option<Waker>>,
}

impl<S: AsFd + 'static> Outgoing<S> {
    fn new(source: Async<S>) -> Self {
        Self {
            source,
            queue: RefCell::default(),
            high_water: Cell::new(WriteQueue::HIGH_WATER),
            is_sending: Cell::new(false),
            failure: Cell::new(None),
            has_failed: Cell::new(false),
            waiting: Cell::new(None),
        }
    }

    fn fail(&self, error: io::Error) {
        self.has_failed.set(true);
        self.failure.set(Some(error));
        self.queue.borrow_mut().clear();
    }

    fn check(&self) -> io::Result<()> {
        match self.failure.take() {
            Some(error) => Err(error),
            None if self.has_failed.get() => Err(io::ErrorKind::BrokenPipe.into()),
            None => Ok(()),
        }
    }
}

/// A coroutine is sending, until this is dropped: also with its loop.
struct Sending<S: AsFd + 'static>(Rc<Outgoing<S>>);

impl<S: AsFd + 'static> Sending<S> {
    fn begin(outgoing: &Rc<Outgoing<S>>) -> Self {
        outgoing.is_sending.set(true);
        Self(Rc::clone(outgoing))
    }
}

impl<S: AsFd + 'static> Drop for Sending<S> {
    fn drop(&mut self) {
        self.0.is_sending.set(false);
        self.0.waiting.take().into_iter().for_each(Waker::wake);
    }
}

impl<S: AsFd + 'static> StreamWriter<S>
where
    for<'a> &'a S: Write,
{
    /// From so many bytes in the queue on, [`drain`](Self::drain) waits until a quarter of them is
    /// left. 64 KiB at first, as in Python; zero waits for the last byte.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let (_reader, mut writer) = Async::new(left)?.split();
    /// writer.set_high_water(1 << 20);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_high_water(&mut self, bytes: usize) {
        self.0.high_water.set(bytes);
    }

    /// Sends what the source takes at once, and queues the rest. Does not wait.
    ///
    /// # Errors
    ///
    /// What the source says, now or since the last call; what is queued is given up then, and
    /// everything from now on is `BrokenPipe`. `Other` if something is left outside of a coroutine
    /// of an [`EventLoop`](crate::EventLoop), where nothing could send it.
    ///
    /// See [`Async::split`] for an example.
    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let outgoing = &self.0;
        outgoing.check()?;
        if outgoing.is_sending.get() {
            outgoing.queue.borrow_mut().push(bytes);
            return Ok(());
        }
        let sent = outgoing.queue.borrow_mut().send(outgoing.source.get_ref(), bytes);
        match sent {
            Ok(true) => Ok(()),
            Ok(false) => self.send_the_rest(),
            Err(error) => {
                outgoing.fail(error);
                outgoing.check()
            }
        }
    }

    #[track_caller]
    fn send_the_rest(&self) -> io::Result<()> {
        let runtime = Runtime::current()?;
        let sending = Sending::begin(&self.0);
        let send = async move {
            let outgoing = &*sending.0;
            let flush = |mut source: &S| {
                let mut queue = outgoing.queue.borrow_mut();
                let is_empty = queue.flush(&mut source)?;
                if queue.len() <= outgoing.high_water.get() / 4 {
                    outgoing.waiting.take().into_iter().for_each(Waker::wake);
                }
                if is_empty { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
            };
            if let Err(error) = outgoing.source.write_with(flush).await {
                outgoing.fail(error);
            }
        };
        runtime.spawn(send, Location::caller()).detach();
        Ok(())
    }

    /// Waits while the queue is longer than the high-water mark: until a quarter of that is left.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// See [`Async::split`] for an example.
    pub async fn drain(&mut self) -> io::Result<()> {
        let high_water = self.0.high_water.get();
        if self.0.queue.borrow().len() > high_water {
            self.wait_for(high_water / 4).await?;
        }
        self.0.check()
    }

    /// Waits until everything is sent.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # let (left, mut right) = std::os::unix::net::UnixStream::pair()?;
    /// # let (_reader, mut writer) = Async::new(left)?.split();
    /// # let reading = std::thread::spawn(move || std::io::copy(&mut right, &mut std::io::sink()));
    /// # EventLoop::new(())?.block_on(async {
    /// writer.write(&[b'x'; 1_000_000])?;
    /// writer.flush().await?;
    /// # drop((_reader, writer));
    /// # std::io::Result::Ok(()) })??;
    /// # assert_eq!(reading.join().unwrap()?, 1_000_000);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn flush(&mut self) -> io::Result<()> {
        self.wait_for(0).await?;
        self.0.check()
    }

    /// Waits until everything is sent, and tells the other end that nothing more comes. The reader
    /// can go on.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # use std::io::Read;
    /// # let (left, mut right) = std::os::unix::net::UnixStream::pair()?;
    /// # let (_reader, mut writer) = Async::new(left)?.split();
    /// # EventLoop::new(())?.block_on(async {
    /// writer.write(b"goodbye")?;
    /// writer.close().await?;
    /// # std::io::Result::Ok(()) })??;
    /// # let mut text = String::new();
    /// # right.read_to_string(&mut text)?;
    /// # assert_eq!(text, "goodbye"); }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn close(mut self) -> io::Result<()> {
        self.flush().await?;
        self.0.source.end_writing()
    }

    async fn wait_for(&self, length: usize) -> io::Result<()> {
        if !self.0.is_sending.get() && !self.0.queue.borrow().is_empty() {
            // It was written where no coroutine could send it, or the loop of the one is gone.
            self.send_the_rest()?;
        }
        poll_fn(|context| {
            let outgoing = &self.0;
            if !outgoing.is_sending.get() || length > 0 && outgoing.queue.borrow().len() <= length {
                return Poll::Ready(());
            }
            outgoing.waiting.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
        Ok(())
    }
}

impl<S: AsFd + fmt::Debug + 'static> fmt::Debug for StreamWriter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWriter")
            .field("source", &self.0.source)
            .field("queued", &self.0.queue.borrow().len())
            .finish()
    }
}
