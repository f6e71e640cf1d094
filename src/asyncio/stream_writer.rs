//! [`StreamWriter`], and the task that sends its unsent bytes.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, Write};
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use rustix::fd::AsFd;

use super::runtime::Runtime;
use super::source::Async;
use super::state::aborted;
use super::time::sleep;
use super::waiters::Waiters;
use crate::WriteQueue;

/// Writes to a source through a queue: from [`Async::split`].
///
/// The loop sends the bytes that the source does not take immediately, but only while it runs: await
/// [`close`](Self::close), or call [`EventLoop::run`](crate::EventLoop::run), before the loop is dropped. Only
/// [`drain`](Self::drain) limits the queue: await it after each write, so that a peer that does not read cannot fill the
/// memory.
///
/// When the writer is dropped with bytes left, by the end of its task, an error or a cancellation, the
/// loop goes on sending them for up to 30 seconds ([`set_linger`](Self::set_linger)). Then it
/// discards the rest, with a log line (`log::warn!`) and a reset of the connection, so that the peer notices
/// the missing bytes. A [`Server`](super::Server) that is stopped discards it earlier, and so does a loop that is
/// dropped. A Unix socket has no reset: its peer reads the end of the stream.
/// [`close`](Self::close) waits until everything is sent; [`abort`](Self::abort) does not wait.
pub struct StreamWriter<S: AsFd + 'static>(Rc<Outgoing<S>>);

/// Shared by the writer and the sending task.
struct Outgoing<S: AsFd + 'static> {
    source: Async<S>,
    queue: RefCell<WriteQueue>,
    high_water: Cell<usize>,
    linger: Cell<Duration>,
    /// Whether a task is sending.
    is_sending: Cell<bool>,
    failure: Cell<Option<io::Error>>,
    has_failed: Cell<bool>,
    /// The writer's task, which waits for the queue to get shorter.
    shorter: Waiters,
    is_dropped: Cell<bool>,
    /// The sending task, which waits for the writer to be dropped.
    dropped: Waiters,
}

impl<S: AsFd + 'static> Outgoing<S> {
    fn fail(&self, error: io::Error) {
        if self.is_dropped.get() || self.source.is_aborted() {
            self.discard(&error);
        }
        self.has_failed.set(true);
        self.failure.set(Some(error));
        self.queue.borrow_mut().clear();
    }

    /// Gives up the queued bytes; no call of the writer returns the reason.
    fn discard(&self, reason: &dyn fmt::Display) {
        let left = self.queue.borrow().len();
        if left > 0 {
            self.queue.borrow_mut().clear();
            self.source.reset_on_close();
            log::warn!("a writer gives up {left} bytes that are not sent: {reason}");
        }
    }

    fn check(&self) -> io::Result<()> {
        match self.failure.take() {
            Some(error) => Err(error),
            None if self.has_failed.get() => Err(io::ErrorKind::BrokenPipe.into()),
            None => Ok(()),
        }
    }

    /// Ends when the linger time has passed.
    async fn time_is_up(&self) -> io::Error {
        self.dropped.until(|| self.is_dropped.get()).await;
        let limit = self.linger.get();
        sleep(limit).await;
        let message = format!("the writer was dropped {limit:?} ago, and not all is sent");
        io::Error::new(io::ErrorKind::TimedOut, message)
    }
}

impl<S: AsFd + 'static> Outgoing<S>
where
    for<'a> &'a S: Write,
{
    /// Sends as much as the source takes. `WouldBlock` means that bytes are left.
    fn flush(&self, mut source: &S) -> io::Result<()> {
        if self.source.is_aborted() {
            return Err(aborted());
        }
        let is_empty = {
            let mut queue = self.queue.borrow_mut();
            let is_empty = queue.flush(&mut source)?;
            if queue.len() > self.high_water.get() / 4 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            is_empty
        };
        self.shorter.wake();
        if is_empty { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    async fn send_the_rest(&self) {
        let mut sending = pin!(self.source.write_with(|source| self.flush(source)));
        let mut limit = pin!(self.time_is_up());
        let sent = poll_fn(|context| match sending.as_mut().poll(context) {
            Poll::Pending => limit.as_mut().poll(context).map(Err),
            sent => sent,
        });
        if let Err(error) = sent.await {
            self.fail(error);
        }
    }
}

/// The writer and its sending task are gone: the loop was dropped, or the bytes were written outside a task.
impl<S: AsFd + 'static> Drop for Outgoing<S> {
    fn drop(&mut self) {
        self.discard(&"their writer was dropped, and no loop is left that sends them");
    }
}

/// A task is sending, until this is dropped: also with its loop.
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
        self.0.shorter.wake();
    }
}

impl<S: AsFd + 'static> StreamWriter<S>
where
    for<'a> &'a S: Write,
{
    pub(super) fn new(source: Async<S>) -> Self {
        Self(Rc::new(Outgoing {
            source,
            queue: RefCell::default(),
            high_water: Cell::new(WriteQueue::HIGH_WATER),
            linger: Cell::new(Duration::from_secs(30)),
            is_sending: Cell::new(false),
            failure: Cell::new(None),
            has_failed: Cell::new(false),
            shorter: Waiters::default(),
            is_dropped: Cell::new(false),
            dropped: Waiters::default(),
        }))
    }

    /// Sets the high-water mark: with more `bytes` than this in the queue, [`drain`](Self::drain) waits
    /// until a quarter of them is left. 64 KiB at first, as in Python; zero waits for the last byte.
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

    /// Sets for how long the loop goes on sending when the writer is dropped with bytes left. 30 seconds
    /// at first; [`Duration::ZERO`] discards them immediately, and [`Duration::MAX`] sets no limit.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # use std::time::Duration;
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let (_reader, mut writer) = Async::new(left)?.split();
    /// writer.set_linger(Duration::from_secs(1));
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_linger(&mut self, limit: Duration) {
        self.0.linger.set(limit);
    }

    /// Sends as much as the source takes immediately, and queues the rest. Does not wait.
    ///
    /// # Errors
    ///
    /// The error of the source, from this call or since the last one; the queue is discarded then, and
    /// later calls return `BrokenPipe`. `Other` if bytes are left outside a task of an
    /// [`EventLoop`](crate::EventLoop), where no loop could send them; they stay in the queue for the next wait in a
    /// task.
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
            Ok(false) => self.start_sending(),
            Err(error) => {
                outgoing.fail(error);
                outgoing.check()
            }
        }
    }

    #[track_caller]
    fn start_sending(&self) -> io::Result<()> {
        let runtime = Runtime::current()?;
        let sending = Sending::begin(&self.0);
        let task = async move { sending.0.send_the_rest().await };
        runtime.spawn(task, Location::caller()).detach();
        Ok(())
    }

    /// Returns the number of bytes in the queue: those that the source has not taken yet. asyncio's
    /// `get_write_buffer_size`.
    ///
    /// A broadcast that must not wait for its slowest peer checks this instead of awaiting [`drain`](Self::drain).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let (_reader, mut writer) = Async::new(left)?.split();
    /// # EventLoop::new(())?.block_on(async {
    /// writer.write(&vec![0; 30_000_000])?;
    /// if writer.write_buffer_size() > 1 << 20 {
    ///     writer.abort(); // the peer is too slow
    /// }
    /// # std::io::Result::Ok(()) })??;
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn write_buffer_size(&self) -> usize {
        self.0.queue.borrow().len()
    }

    /// Waits while the queue is longer than the high-water mark: until a quarter of that is left.
    ///
    /// # Errors
    ///
    /// Fails as [`write`](Self::write) does.
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
    /// Fails as [`write`](Self::write) does.
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

    /// Waits until everything is sent, and shuts down the writing side, so that the peer reads the end of the stream.
    /// The reader remains usable.
    ///
    /// # Errors
    ///
    /// Fails as [`flush`](Self::flush) does.
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

    /// Discards the queue, and lets the connection end with a reset (TCP; a Unix socket just ends) when its last handle is
    /// dropped. The reader's waits, and those of other handles, end with `ConnectionAborted`.
    ///
    /// ```
    /// use polyselect::{EventLoop, asyncio::Async};
    /// use std::net::{TcpListener, TcpStream};
    /// use std::io::{ErrorKind, Read};
    ///
    /// let listener = TcpListener::bind(("127.0.0.1", 0))?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let (reader, mut writer) = Async::new(listener.accept()?.0)?.split();
    /// EventLoop::new(())?.block_on(async {
    ///     writer.write(&vec![0; 30_000_000])?; // more than the client has asked for
    ///     writer.abort();
    ///     drop(reader);
    ///     std::io::Result::Ok(())
    /// })??;
    /// let error = client.read_to_end(&mut Vec::new()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn abort(self) {
        let outgoing = &self.0;
        outgoing.fail(aborted());
        outgoing.source.reset_on_close();
        outgoing.source.abort();
    }

    async fn wait_for(&self, length: usize) -> io::Result<()> {
        let outgoing = &*self.0;
        if !outgoing.is_sending.get() && !outgoing.queue.borrow().is_empty() {
            // The bytes were written outside a task, or the loop of the task is gone.
            self.start_sending()?;
        }
        let is_short = || length > 0 && outgoing.queue.borrow().len() <= length;
        outgoing.shorter.until(|| !outgoing.is_sending.get() || is_short()).await;
        Ok(())
    }
}

impl<S: AsFd + 'static> Drop for StreamWriter<S> {
    fn drop(&mut self) {
        self.0.is_dropped.set(true);
        self.0.dropped.wake();
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
