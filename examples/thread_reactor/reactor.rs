//! The reactor: sources and timers for the tasks of any executor, on one `SharedSelector`.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::Shutdown;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(windows)]
use std::os::windows::io::{AsSocket, BorrowedSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use polyselect::{Backend, Events, Interest, Key, SharedSelector, Source};

/// A source of any type. Its task may use it at the same time, without a lock.
struct AnySource(Arc<dyn Source + Send + Sync>);

#[cfg(unix)]
impl AsFd for AnySource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(windows)]
impl AsSocket for AnySource {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.0.as_socket()
    }
}

/// The reactor of the process.
pub(crate) struct Reactor {
    selector: SharedSelector<AnySource, Arc<Directions>>,
    /// Whether the backend reports edges, so that nothing has to be re-armed.
    has_edges: bool,
    /// The number distinguishes timers with the same deadline.
    timers: Mutex<BTreeMap<(Instant, u64), Waker>>,
    next_timer: AtomicU64,
}

static REACTOR: OnceLock<Reactor> = OnceLock::new();

/// The directions of a source.
pub(crate) const READING: usize = 0;
pub(crate) const WRITING: usize = 1;
const INTERESTS: [Interest; 2] = [Interest::READABLE, Interest::WRITABLE];

struct Directions {
    /// Whether the next attempt may succeed.
    is_ready: [AtomicBool; 2],
    wakers: Mutex<[Option<Waker>; 2]>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reactor {
    /// Opens the reactor of the process, once.
    pub(crate) fn start(backend: Option<Backend>) -> io::Result<()> {
        let selector = backend.map_or_else(SharedSelector::new, SharedSelector::with_backend)?;
        let has_edges = selector.backend().capabilities().edge;
        let (timers, next_timer) = Default::default();
        let reactor = Self { selector, has_edges, timers, next_timer };
        REACTOR.set(reactor).map_err(|_| io::Error::other("the reactor is running already"))
    }

    pub(crate) fn get() -> &'static Self {
        REACTOR.get().expect("`Reactor::start` has been called")
    }

    /// Waits for events, or for the next timer. Fails with `ResourceBusy` if another thread waits.
    pub(crate) fn select(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let next = lock(&self.timers).first_key_value().map(|(&(deadline, _), _)| deadline);
        let next = next.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        self.selector.select(events, timeout.into_iter().chain(next).min()).map(drop)
    }

    /// Wakes the tasks whose source or timer is ready.
    pub(crate) fn dispatch(&self, events: &Events) -> io::Result<()> {
        for event in events {
            // A clone, because wakers run code of the executor, which may call the selector.
            let directions = self.selector.with(event.key, |_, directions| Arc::clone(directions));
            let Some(directions) = directions else { continue };
            let is_ready = [event.is_readable(), event.is_writable()];
            let mut wakers = lock(&directions.wakers);
            let woken = [READING, WRITING].map(|direction| {
                if !is_ready[direction] && !event.is_invalid() {
                    return None;
                }
                directions.is_ready[direction].store(true, Ordering::Release);
                wakers[direction].take()
            });
            self.arm(event.key, &wakers)?;
            drop(wakers);
            woken.into_iter().flatten().for_each(Waker::wake);
        }
        let mut timers = lock(&self.timers);
        if !timers.is_empty() {
            let later = timers.split_off(&(Instant::now(), u64::MAX));
            let expired = std::mem::replace(&mut *timers, later);
            drop(timers);
            expired.into_values().for_each(Waker::wake);
        }
        Ok(())
    }

    pub(crate) fn wake_waiting_thread(&self) {
        if let Err(error) = self.selector.waker().wake() {
            log::error!("the reactor cannot be woken: {error}");
        }
    }

    /// Without edges: arms a one-shot for the directions with a waker.
    fn arm(&self, key: Key, wakers: &[Option<Waker>; 2]) -> io::Result<()> {
        if self.has_edges {
            return Ok(());
        }
        let awaited = wakers.iter().zip(INTERESTS).filter(|(waker, _)| waker.is_some());
        let interest = awaited.fold(Interest::empty(), |all, (_, interest)| all | interest);
        if interest.is_empty() {
            return Ok(());
        }
        match self.selector.modify(key, interest) {
            // A task has unregistered it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

impl Directions {
    /// Ready if an attempt may succeed; else the task is woken when it may.
    fn poll_ready(
        &self,
        direction: usize,
        key: Key,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let is_ready = &self.is_ready[direction];
        if is_ready.swap(false, Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        // Under the lock, because an event between the two steps would find no waker.
        let mut wakers = lock(&self.wakers);
        if is_ready.swap(false, Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        match &mut wakers[direction] {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Reactor::get().arm(key, &wakers)?;
        Poll::Pending
    }
}

/// A non-blocking source for tasks: one that reads, and one that writes.
pub(crate) struct Async<T> {
    source: Arc<T>,
    directions: Arc<Directions>,
    key: Key,
}

impl<T: Source + Send + Sync + 'static> Async<T> {
    /// The source must be non-blocking.
    pub(crate) fn new(source: T) -> io::Result<Self> {
        let reactor = Reactor::get();
        let source = Arc::new(source);
        let is_ready = [true, true].map(AtomicBool::new);
        let directions = Arc::new(Directions { is_ready, wakers: Mutex::default() });
        let watch = match reactor.has_edges {
            true => (INTERESTS[READING] | INTERESTS[WRITING]).edge(),
            false => Interest::empty().oneshot(),
        };
        let data = Arc::clone(&directions);
        let key = reactor.selector.register(AnySource(source.clone()), watch, data)?;
        Ok(Self { source, directions, key })
    }
}

impl<T> Async<T> {
    pub(crate) fn get_ref(&self) -> &T {
        &self.source
    }

    /// Tries an operation when it may succeed, until it does not block.
    fn poll_with<R>(
        &self,
        direction: usize,
        context: &mut Context<'_>,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            ready!(self.directions.poll_ready(direction, self.key, context))?;
            let result = operation(&self.source);
            let error = result.as_ref().err().map(io::Error::kind);
            if error != Some(io::ErrorKind::WouldBlock) {
                // There may be more data, and its edge is reported only once.
                self.directions.is_ready[direction].store(true, Ordering::Release);
                if error != Some(io::ErrorKind::Interrupted) {
                    return Poll::Ready(result);
                }
            }
        }
    }

    /// Waits until an operation succeeds that depends on a direction: `accept` on reading, the end of `connect` on
    /// writing.
    pub(crate) async fn when<R>(
        &self,
        direction: usize,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        poll_fn(|context| self.poll_with(direction, context, &mut operation)).await
    }
}

impl<T> Drop for Async<T> {
    fn drop(&mut self) {
        if let Err(error) = Reactor::get().selector.unregister(self.key) {
            log::error!("a source stays registered: {error}");
        }
    }
}

impl<T> AsyncRead for Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(READING, context, |mut source| source.read(buffer))
    }
}

impl<T: Source> AsyncWrite for Async<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(WRITING, context, |mut source| source.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(WRITING, context, |mut source| source.flush())
    }

    /// Sends the end of the stream.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match socket2::SockRef::from(&*self.source).shutdown(Shutdown::Write) {
            // The peer closed first.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}

/// Ready when its deadline has passed.
pub(crate) struct Timer(Instant, u64);

impl Timer {
    pub(crate) fn after(duration: Duration) -> Self {
        let number = Reactor::get().next_timer.fetch_add(1, Ordering::Relaxed);
        Self(Instant::now() + duration, number)
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (reactor, name) = (Reactor::get(), (self.0, self.1));
        if Instant::now() >= self.0 {
            return Poll::Ready(());
        }
        let mut timers = lock(&reactor.timers);
        let before = timers.insert(name, context.waker().clone());
        let is_first = timers.first_key_value().is_some_and(|(&first, _)| first == name);
        // Dropped before the last poll's waker, which may call the executor.
        drop(timers);
        if is_first && before.is_none() {
            reactor.wake_waiting_thread();
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let waker = lock(&Reactor::get().timers).remove(&(self.0, self.1));
        drop(waker);
    }
}
