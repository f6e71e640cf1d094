//! Tasks with faulty wakers, sources, loggers and destructors: each affects itself alone.

// They are const; clippy does not detect it on some targets.
#![allow(clippy::missing_const_for_thread_local)]

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::{Future, pending, poll_fn};
use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::process;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use polyselect::asyncio::{self, Async, JoinError};
use polyselect::{Backend, EventLoop, Next};

use crate::event_loop::open;
use crate::support::*;

cases! {
    a_waker_that_panics_loses_no_request_of_another_task,
    a_waker_that_panics_loses_no_event_of_another_task,
    #[cfg(unix)]
    a_source_whose_drop_panics_loses_no_request_of_another_task,
    #[cfg(unix)]
    an_as_fd_that_panics_loses_no_request_of_another_task,
    a_waker_may_poll_and_spawn,
    a_logger_may_spawn,
    a_chain_of_successors_is_dropped_with_its_loop,
    dropping_a_loop_ends_though_each_task_spawns_its_successor,
    #[cfg(unix)]
    a_source_that_polls_another_when_dropped_leaks_nothing_with_its_loop,
    a_loop_in_a_thread_local_is_dropped_cleanly,
    block_on_fails_when_nothing_could_wake_its_future,
    block_on_waits_for_a_waker_in_another_thread,
    a_join_error_is_an_error_of_any_thread,
    the_error_of_a_detached_task_is_logged_once_with_its_place,
}

/// Suppresses the message of a panic on standard error.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("on purpose"));
}

/// Runs iterations until a panic propagates.
fn turn_until_it_panics(event_loop: &mut EventLoop<()>) {
    let turns = catch_unwind(AssertUnwindSafe(|| {
        loop {
            event_loop.turn(SURELY).unwrap();
        }
    }));
    assert_eq!(turns.unwrap_err().downcast_ref(), Some(&"on purpose"));
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic_quietly();
    }
}

/// A task that polls a future once, with a waker that panics, and keeps it.
async fn poll_with_a_waker_that_panics(future: impl Future) {
    let mut future = pin!(future);
    poll_fn(|_| {
        let waker = Waker::from(Arc::new(Panics));
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        Poll::Ready(())
    })
    .await;
    pending::<()>().await;
}

/// A task that reads one byte, and its source.
fn reader(event_loop: &mut EventLoop<()>) -> (asyncio::JoinHandle<usize>, TcpStream) {
    let (left, right) = pair();
    let read = async move { Async::new(left).unwrap().read(&mut [0]).await.unwrap() };
    (event_loop.spawn(read), right)
}

/// The reader still waits as it should: the byte written now wakes it.
#[track_caller]
fn ends(event_loop: &mut EventLoop<()>, reader: asyncio::JoinHandle<usize>, mut peer: TcpStream) {
    peer.write_all(b"!").unwrap();
    let read = event_loop.block_on(asyncio::timeout(SURELY / 4, reader)).unwrap();
    assert_eq!(read.expect("the other task was forgotten").unwrap(), 1);
    assert_eq!(event_loop.len(), 0);
}

fn a_waker_that_panics_loses_no_request_of_another_task(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, _right) = pair();
    let left = Rc::new(left);
    let key = event_loop.register(Rc::clone(&left), NOTHING, |_, _, _| Ok(Next::Keep)).unwrap();
    // It is registered already, so waiting for it fails, and that wakes.
    let refused = Async::new(left).unwrap();
    let failing = event_loop.spawn(poll_with_a_waker_that_panics(async move {
        refused.read_with(|_| Err::<(), _>(ErrorKind::WouldBlock.into())).await
    }));
    let (handle, peer) = reader(&mut event_loop);
    turn_until_it_panics(&mut event_loop);
    event_loop.unregister(key).unwrap();
    ends(&mut event_loop, handle, peer);
    drop(failing);
    event_loop.run().unwrap();
}

fn a_waker_that_panics_loses_no_event_of_another_task(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = pair();
    let left = Async::new(left).unwrap();
    let failing =
        event_loop.spawn(poll_with_a_waker_that_panics(async move { left.read(&mut [0]).await }));
    let (handle, peer) = reader(&mut event_loop);
    event_loop.turn(SURELY).unwrap();
    right.write_all(b"!").unwrap();
    turn_until_it_panics(&mut event_loop);
    ends(&mut event_loop, handle, peer);
    drop(failing);
    event_loop.run().unwrap();
    assert_eq!(event_loop.len(), 0);
}

/// A socket that fails when the case requests it.
#[cfg(unix)]
struct Odd {
    socket: TcpStream,
    /// Polled when this is dropped.
    other: Option<Async<TcpStream>>,
    panics_in_drop: bool,
    /// The number of times that `as_fd` works before it panics.
    answers: Cell<usize>,
}

#[cfg(unix)]
impl Odd {
    fn new(socket: TcpStream) -> Self {
        Self { socket, other: None, panics_in_drop: false, answers: Cell::new(usize::MAX) }
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Odd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self.answers.get().checked_sub(1) {
            Some(left) => self.answers.set(left),
            None => panic_quietly(),
        }
        self.socket.as_fd()
    }
}

#[cfg(unix)]
impl Drop for Odd {
    fn drop(&mut self) {
        if let Some(other) = self.other.take() {
            poll_once(other.read(&mut [0]));
        }
        if self.panics_in_drop {
            panic_quietly();
        }
    }
}

#[cfg(unix)]
fn poll_once(future: impl Future) {
    // Pending, or an error outside a task.
    let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
}

#[cfg(unix)]
fn would_block(_: &Odd) -> io::Result<()> {
    Err(ErrorKind::WouldBlock.into())
}

#[cfg(unix)]
fn a_source_whose_drop_panics_loses_no_request_of_another_task(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, _right) = pair();
    let mut odd = Odd::new(left);
    odd.panics_in_drop = true;
    let odd = Async::new(odd).unwrap();
    let handle = Rc::new(Cell::new(Some(odd.clone())));
    let waiting = event_loop.spawn(async move { odd.read_with(would_block).await });
    event_loop.turn(SURELY).unwrap();
    // Both handles are dropped in one iteration, in which another task begins to wait.
    drop(waiting);
    let last = event_loop.spawn(async move { drop(handle.take()) });
    let (handle, peer) = reader(&mut event_loop);
    turn_until_it_panics(&mut event_loop);
    ends(&mut event_loop, handle, peer);
    drop(last);
    event_loop.run().unwrap();
    assert_eq!(event_loop.len(), 0);
}

#[cfg(unix)]
fn an_as_fd_that_panics_loses_no_request_of_another_task(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, _right) = pair();
    let odd = Odd::new(left);
    odd.answers.set(1); // which `Async::new` needs
    let odd = Async::new(odd).unwrap();
    let waiting = event_loop.spawn(async move { odd.read_with(would_block).await });
    let (handle, peer) = reader(&mut event_loop);
    turn_until_it_panics(&mut event_loop);
    ends(&mut event_loop, handle, peer);
    drop(waiting);
    event_loop.run().unwrap();
}

thread_local! {
    static ON_WAKE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Acts as `ON_WAKE` says, during the wake.
struct Acts;

impl Wake for Acts {
    fn wake(self: Arc<Self>) {
        let act = ON_WAKE.with(RefCell::take);
        act.expect("is woken once")();
    }
}

fn a_waker_may_poll_and_spawn(backend: Backend) {
    let mut event_loop = open(backend, ());
    let ended = event_loop.spawn(async { asyncio::yield_now().await });
    let result = Rc::new(Cell::new(None));
    let inside = Rc::clone(&result);
    let waiting = event_loop.spawn(async move {
        let handle = Rc::new(RefCell::new(Some(ended)));
        {
            let handle = Rc::clone(&handle);
            let poll = move || {
                let mut handle = handle.take().expect("is polled here alone");
                let waker = Waker::from(Arc::new(Acts));
                let poll = pin!(&mut handle).poll(&mut Context::from_waker(&waker));
                inside.set(Some(poll.is_ready()));
                asyncio::spawn(async { asyncio::yield_now().await }).detach();
                let task = asyncio::spawn(pending::<()>());
                task.cancel();
            };
            ON_WAKE.set(Some(Box::new(poll)));
        }
        let waker = Waker::from(Arc::new(Acts));
        let mut first = handle.borrow_mut();
        let poll = pin!(first.as_mut().unwrap()).poll(&mut Context::from_waker(&waker));
        assert!(poll.is_pending());
        drop(first);
    });
    event_loop.block_on(waiting).unwrap().unwrap();
    event_loop.run().unwrap();
    assert_eq!(result.get(), Some(true));
}

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    static SPAWNS: Cell<bool> = const { Cell::new(false) };
}

/// Keeps the log records, and spawns a task at each while `SPAWNS` is set.
struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.lock().unwrap().push(format!("{}: {}", record.level(), record.args()));
        if SPAWNS.replace(false) {
            asyncio::spawn(async { asyncio::yield_now().await }).detach();
            SPAWNS.set(true);
        }
    }

    fn flush(&self) {}
}

fn a_logger_may_spawn(backend: Backend) {
    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let mut event_loop = open(backend, ());
    let spawned = event_loop.block_on(async {
        SPAWNS.set(true);
        let handle = asyncio::spawn(async { 7 });
        SPAWNS.set(false);
        handle.await.unwrap()
    });
    assert_eq!(spawned.unwrap(), 7);
    event_loop.run().unwrap();
    assert_eq!(event_loop.stats().tasks, 0);
}

thread_local! {
    /// Successors that were created and dropped. They own nothing else, so the last may leak.
    static CREATED: Cell<usize> = const { Cell::new(0) };
    static DROPPED: Cell<usize> = const { Cell::new(0) };
}

/// Spawns a successor when it is dropped, as often as its count allows.
struct Successor(usize);

impl Successor {
    fn new(left: usize) -> Self {
        CREATED.set(CREATED.get() + 1);
        Self(left)
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        DROPPED.set(DROPPED.get() + 1);
        if DROPPED.get() > 100_000 {
            eprintln!("dropping the loop does not end");
            process::exit(1);
        }
        if let Some(left) = self.0.checked_sub(1) {
            let next = Self::new(left);
            asyncio::spawn(async move {
                let _next = next;
                pending::<()>().await;
            })
            .detach();
        }
    }
}

fn drop_a_loop_with_successors(backend: Backend, left: usize) {
    let first = Successor::new(left);
    let mut event_loop = open(backend, ());
    event_loop
        .spawn(async move {
            let _first = first;
            pending::<()>().await;
        })
        .detach();
    event_loop.turn(SURELY).unwrap();
    drop(event_loop);
}

fn a_chain_of_successors_is_dropped_with_its_loop(backend: Backend) {
    drop_a_loop_with_successors(backend, 20);
    assert_eq!((CREATED.get(), DROPPED.get()), (21, 21));
}

fn dropping_a_loop_ends_though_each_task_spawns_its_successor(backend: Backend) {
    drop_a_loop_with_successors(backend, usize::MAX);
    // All but the last, whose drop would have to spawn another.
    assert_eq!(CREATED.get() - DROPPED.get(), 1, "after {}", DROPPED.get());
}

#[cfg(unix)]
fn a_source_that_polls_another_when_dropped_leaks_nothing_with_its_loop(backend: Backend) {
    /// Polls a source for the first time when its task is dropped.
    struct PollsLate(Async<Odd>);

    impl Drop for PollsLate {
        fn drop(&mut self) {
            poll_once(self.0.read_with(would_block));
        }
    }

    let odd = || {
        let mut odd = Odd::new(pair().0);
        odd.other = Some(Async::new(pair().0).unwrap());
        Async::new(odd).unwrap()
    };
    let mut event_loop = open(backend, ());
    let (waits, polls_late) = (odd(), PollsLate(odd()));
    event_loop.spawn(async move { waits.read_with(would_block).await }).detach();
    event_loop
        .spawn(async move {
            let _polls_late = polls_late;
            pending::<()>().await;
        })
        .detach();
    event_loop.turn(SURELY).unwrap();
    drop(event_loop);
    // The harness checks after every case that no descriptor is left.
}

fn a_loop_in_a_thread_local_is_dropped_cleanly(backend: Backend) {
    thread_local! {
        static LOOP: RefCell<Option<EventLoop>> = const { RefCell::new(None) };
    }

    let dropped = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&dropped);
    let thread = thread::spawn(move || {
        struct Counts(Arc<AtomicUsize>);

        impl Drop for Counts {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }

        LOOP.with_borrow_mut(|event_loop| {
            let event_loop = event_loop.insert(open(backend, ()));
            let counts = Counts(counts);
            event_loop
                .spawn(async move {
                    let _counts = counts;
                    asyncio::sleep(SURELY).await;
                })
                .detach();
            event_loop.turn(Duration::ZERO).unwrap();
        });
    });
    thread.join().unwrap();
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

fn block_on_fails_when_nothing_could_wake_its_future(backend: Backend) {
    let mut event_loop = open(backend, 0);
    event_loop.call_later(Duration::from_millis(1), |event_loop| event_loop.state += 1);
    let error = event_loop.block_on(pending::<()>()).unwrap_err();
    assert_eq!((error.kind(), event_loop.state), (ErrorKind::Deadlock, 1));
    assert_eq!(event_loop.block_on(async { 5 }).unwrap(), 5);
}

fn block_on_waits_for_a_waker_in_another_thread(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut thread = None;
    let woken = poll_fn(|context| {
        if thread.is_some() {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        thread = Some(thread::spawn(move || {
            thread::sleep(A_WHILE);
            waker.wake();
        }));
        Poll::Pending
    });
    event_loop.block_on(woken).unwrap();
    thread.unwrap().join().unwrap();
}

fn a_join_error_is_an_error_of_any_thread(backend: Backend) {
    async fn fail(panics: bool) -> Result<(), Box<dyn Error + Send + Sync>> {
        let handle = asyncio::spawn(async move {
            if panics {
                panic_quietly();
            }
            pending::<()>().await;
        });
        if !panics {
            handle.cancel();
        }
        handle.await?;
        Ok(())
    }

    let mut event_loop = open(backend, ());
    for panics in [true, false] {
        let error = event_loop.block_on(fail(panics)).unwrap().unwrap_err();
        let error = error.downcast::<JoinError>().unwrap();
        assert_eq!(error.is_panic(), panics);
        let text = error.to_string();
        assert_eq!(text.contains("on purpose"), panics, "{text}");
        assert_eq!(io::Error::other(error).to_string(), text);
    }
}

fn the_error_of_a_detached_task_is_logged_once_with_its_place(backend: Backend) {
    fn said(text: &str) -> Vec<String> {
        let lines = LINES.lock().unwrap();
        lines.iter().filter(|line| line.contains(text)).cloned().collect()
    }

    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let mut event_loop = open(backend, ());
    event_loop.spawn(async { Err::<(), _>(io::Error::other("first")) }).detach();
    let first = format!("{}:{}", file!(), line!() - 1);
    let ended = event_loop.spawn(async { Err::<u8, _>(io::Error::other("second")) });
    let second = format!("{}:{}", file!(), line!() - 1);
    event_loop.spawn(async { io::Result::Ok(3) }).detach();
    event_loop.run().unwrap();
    assert!(ended.is_finished());
    ended.detach();
    for (text, place) in [("first", first), ("second", second)] {
        let lines = said(text);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("ERROR: ") && lines[0].contains(&place), "{lines:?}");
    }
    assert_eq!(LINES.lock().unwrap().len(), 2);
}
