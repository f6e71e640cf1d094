//! Tasks that wait for the same event, and some that stop waiting: each waiter belongs to its
//! future.

// They are const; clippy does not detect it on some targets.
#![allow(clippy::missing_const_for_thread_local)]

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::TcpStream;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_lite::future::poll_once;
use polyselect::Backend;
use polyselect::asyncio::{self, Async};

use super::{MORE_THAN_FITS, wait_in_vain};
use crate::event_loop::open;
use crate::support::*;

cases! {
    waiters_of_a_quiet_source_that_gave_up_leave_nothing_behind in virtual time,
    waiters_of_a_server_that_gave_up_leave_nothing_behind in virtual time,
    waiters_of_a_writer_that_gave_up_leave_nothing_behind in virtual time,
    a_waiter_that_gives_up_takes_no_wake_from_the_others,
    a_waker_that_polls_inside_wake_sees_the_data in virtual time,
    #[cfg(target_os = "linux")]
    a_waker_that_polls_inside_wake_reads_on_after_an_urgent_byte in virtual time needs priority,
    a_future_that_moves_to_another_task_wakes_that_one,
    a_source_that_no_task_waits_for_any_more_costs_no_iterations in virtual time,
}

/// A task that counts its wakes.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls a future of `make` as each of many tasks would, and drops it. Returns the number of wakers
/// kept.
async fn give_up<F: Future>(mut make: impl FnMut() -> F) -> usize {
    let tasks: Vec<_> = (0..1000).map(|_| Arc::new(Task::default())).collect();
    for task in &tasks {
        let mut waiting = pin!(make());
        let waker = Waker::from(Arc::clone(task));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        asyncio::yield_now().await;
    }
    tasks.iter().filter(|task| Arc::strong_count(task) > 1).count()
}

fn waiters_of_a_quiet_source_that_gave_up_leave_nothing_behind(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, _right) = pair();
    let left = Async::new(left).unwrap();
    let (readers, all) = event_loop
        .block_on(async {
            // One waiter stays, so that the others are kept beside it.
            let mut stays = pin!(left.readable());
            assert!(poll_once(stays.as_mut()).await.is_none());
            let readers = give_up(async || left.read(&mut [0]).await).await;
            (readers, give_up(async || left.readable().await).await)
        })
        .unwrap();
    // One waker may be kept for the next wait.
    assert!(readers <= 1 && all <= 1, "{readers} and {all} wakers are kept");
}

fn waiters_of_a_server_that_gave_up_leave_nothing_behind(backend: Backend) {
    let mut event_loop = open(backend, ());
    let kept = event_loop
        .block_on(async {
            let server =
                asyncio::start_server(([127, 0, 0, 1], 0), |_stream| async { Ok(()) }).unwrap();
            give_up(async || server.wait_closed().await).await
        })
        .unwrap();
    assert!(kept <= 1, "{kept} wakers are kept");
}

fn waiters_of_a_writer_that_gave_up_leave_nothing_behind(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, right) = pair();
    let (_reader, mut writer) = Async::new(left).unwrap().split();
    let kept = event_loop
        .block_on(async {
            writer.write(&vec![0; MORE_THAN_FITS]).unwrap();
            let writer = RefCell::new(&mut writer);
            #[expect(clippy::await_holding_refcell_ref, reason = "one future at a time")]
            give_up(async || writer.borrow_mut().drain().await).await
        })
        .unwrap();
    assert!(kept <= 1, "{kept} wakers are kept");
    reset(right);
}

fn a_waiter_that_gives_up_takes_no_wake_from_the_others(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = pair();
    let left = Async::new(left).unwrap();
    for gives_up in 0..4 {
        let mut readers: Vec<_> = (0..4)
            .map(|_| {
                let left = left.clone();
                event_loop.spawn(async move { left.read(&mut [0]).await.unwrap() })
            })
            .collect();
        for _ in 0..3 {
            event_loop.turn(Duration::ZERO).unwrap();
        }
        drop(readers.remove(gives_up));
        event_loop.turn(Duration::ZERO).unwrap();
        right.write_all(b"123").unwrap();
        for reader in readers {
            let read = asyncio::timeout(SURELY, reader);
            assert_eq!(event_loop.block_on(read).unwrap().expect("is woken").unwrap(), 1);
        }
    }
}

type Reading = Pin<Box<dyn Future<Output = usize>>>;

thread_local! {
    static READING: RefCell<Option<Reading>> = const { RefCell::new(None) };
    static CAME: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Polls inside `wake`, like an executor that runs a task where it is woken.
struct PollsAtOnce;

impl Wake for PollsAtOnce {
    fn wake(self: Arc<Self>) {
        let mut reading = READING.take().expect("is not running");
        match reading.as_mut().poll(&mut Context::from_waker(&self.into())) {
            Poll::Ready(n) => CAME.set(Some(n)),
            Poll::Pending => READING.set(Some(reading)),
        }
    }
}

fn a_waker_that_polls_inside_wake_sees_the_data(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = pair();
    let left = Async::new(left).unwrap();
    event_loop.block_on(wait_in_vain(&left)).unwrap();
    let reading = left.clone();
    READING.set(Some(Box::pin(async move {
        let mut bytes = [0; 6];
        reading.read_exact(&mut bytes).await.unwrap();
        bytes.len()
    })));
    let beside = event_loop.spawn(async move { left.readable().await });
    event_loop.block_on(async { PollsAtOnce.wake_now() }).unwrap();
    for piece in [b"abc", b"def"] {
        assert_eq!(CAME.get(), None);
        right.write_all(piece).unwrap();
        event_loop.turn(SURELY).unwrap();
    }
    while CAME.get().is_none() {
        event_loop.turn(SURELY).unwrap();
    }
    assert_eq!(CAME.get(), Some(6));
    event_loop.block_on(asyncio::timeout(SURELY, beside)).unwrap().unwrap().unwrap().unwrap();
}

#[cfg(target_os = "linux")]
fn a_waker_that_polls_inside_wake_reads_on_after_an_urgent_byte(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = pair();
    let left = Async::new(left).unwrap();
    event_loop.block_on(wait_in_vain(&left)).unwrap();
    READING.set(Some(Box::pin(async move {
        let mut bytes = [0; 6];
        left.read_exact(&mut bytes).await.unwrap();
        bytes.len()
    })));
    event_loop.block_on(async { PollsAtOnce.wake_now() }).unwrap();
    right.write_all(b"abc").unwrap();
    socket2::SockRef::from(&right).send_out_of_band(b"!").unwrap();
    event_loop.turn(SURELY).unwrap();
    right.write_all(b"def").unwrap();
    while CAME.get().is_none() {
        event_loop.turn(SURELY).unwrap();
    }
    assert_eq!(CAME.get(), Some(6));
}

impl PollsAtOnce {
    fn wake_now(self) {
        Arc::new(self).wake();
    }
}

fn a_future_that_moves_to_another_task_wakes_that_one(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right) = pair();
    let left = Async::new(left).unwrap();
    let mut reading = Box::pin(async move { left.read(&mut [0; 4]).await.unwrap() });
    assert!(event_loop.block_on(poll_once(&mut reading)).unwrap().is_none());
    let reading = event_loop.spawn(reading);
    event_loop.turn(Duration::ZERO).unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
    right.write_all(b"!").unwrap();
    assert_eq!(
        event_loop.block_on(asyncio::timeout(SURELY, reading)).unwrap().unwrap().unwrap(),
        1
    );
}

fn a_source_that_no_task_waits_for_any_more_costs_no_iterations(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, mut right): (TcpStream, TcpStream) = pair();
    let left = Async::new(left).unwrap();
    for _ in 0..3 {
        event_loop.block_on(wait_in_vain(&left)).unwrap();
    }
    right.write_all(b"that no task reads").unwrap();
    let turns = event_loop.stats().turns;
    event_loop.block_on(asyncio::sleep(10 * A_WHILE)).unwrap();
    let turns = event_loop.stats().turns - turns;
    // Each signal and each wake may add one; a loop that spins makes thousands.
    assert!(turns < 50, "{turns} iterations");
}
