//! A thread that runs tasks, and waits in the reactor when none is ready. Several threads wait in
//! turn.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use async_executor::Executor;
use polyselect::Events;

use crate::reactor::{Reactor, lock};

/// The number of tasks polled before the future of `block_on` and the sources.
const TASKS: usize = 64;

/// Above this number of events per wait, another thread helps.
const FEW: usize = 1000;

/// The interval at which a spare thread checks that another one still waits for the sources,
/// because a task may keep that thread. After an interval without events it sleeps until there is
/// one.
const PATROL: Duration = Duration::from_millis(5);

/// The threads that neither run tasks nor wait for the sources.
struct Spare {
    /// Counts the waits that have ended.
    waits: u64,
    asleep: usize,
}

static SPARE: Mutex<Spare> = Mutex::new(Spare { waits: 0, asleep: 0 });
static NEWS: Condvar = Condvar::new();

/// Wakes the thread in `block_on`.
#[derive(Default)]
struct Notify {
    is_notified: AtomicBool,
    /// Whether the thread is about to wait for the sources, or does.
    is_waiting: AtomicBool,
}

impl Wake for Notify {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_notified.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.is_waiting.load(Ordering::SeqCst) {
            Reactor::get().wake_waiting_thread();
        } else {
            // A thread that has checked the flag under the lock is notified.
            drop(lock(&SPARE));
            NEWS.notify_all();
        }
    }
}

/// Runs the tasks of `executor` until `future` is ready.
pub(crate) fn block_on<R>(executor: &Executor<'_>, future: impl Future<Output = R>) -> R {
    let (reactor, mut events) = (Reactor::get(), Events::with_capacity(256));
    let notify = Arc::new(Notify::default());
    let waker = Waker::from(Arc::clone(&notify));
    let (mut context, mut future) = (Context::from_waker(&waker), pin!(future));
    notify.is_notified.store(true, Ordering::Relaxed);
    loop {
        if notify.is_notified.swap(false, Ordering::SeqCst)
            && let Poll::Ready(result) = future.as_mut().poll(&mut context)
        {
            return result;
        }
        events.clear();
        let result = if (0..TASKS).all(|_| executor.try_tick()) {
            reactor.select(&mut events, Some(Duration::ZERO))
        } else {
            // The executor notifies a thread that found no task.
            let mut next_task = pin!(executor.tick());
            notify.is_waiting.store(true, Ordering::SeqCst);
            let is_idle = next_task.as_mut().poll(&mut context).is_pending()
                && !notify.is_notified.load(Ordering::SeqCst);
            let result = if is_idle { reactor.select(&mut events, None) } else { Ok(()) };
            notify.is_waiting.store(false, Ordering::SeqCst);
            if is_idle && result.is_ok() {
                let mut spare = lock(&SPARE);
                spare.waits += 1;
                if spare.asleep > 0 || events.len() > FEW {
                    NEWS.notify_one();
                }
            }
            result
        };
        match result {
            Ok(()) => reactor.dispatch(&events).expect("a source can be re-armed"),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => notify.patrol(),
            Err(error) => panic!("the reactor cannot wait: {error}"),
        }
    }
}

impl Notify {
    /// Another thread waits for the sources: sleeps until this one may be needed.
    fn patrol(&self) {
        let spare = lock(&SPARE);
        if self.is_notified.load(Ordering::SeqCst) {
            return;
        }
        let waits = spare.waits;
        let rested = NEWS.wait_timeout(spare, PATROL);
        let (mut spare, _) = rested.unwrap_or_else(PoisonError::into_inner);
        if spare.waits == waits && !self.is_notified.load(Ordering::SeqCst) {
            spare.asleep += 1;
            spare = NEWS.wait(spare).unwrap_or_else(PoisonError::into_inner);
            spare.asleep -= 1;
        }
    }
}
