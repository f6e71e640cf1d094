//! How threads change a selector while another thread waits on it.
//!
//! A mutex guards the selector. The waiting thread releases it for the system call, and takes the backend
//! along, unless the kernel object accepts changes during a wait. So a change is made in one of two modes:
//!
//! - The backend is here (epoll: always). The thread that wants a change makes it under the mutex.
//! - The waiting thread has the backend. A thread that needs it requests it: it wakes the waiting thread,
//!   which returns from its system call, puts the backend back, and does not leave again before all that
//!   asked have made their changes. A change of an interest needs no backend: it is queued, and the waiting
//!   thread, which is poked, sends it before it leaves again.
//!
//! A wait without a timeout that needs no step before and after it does without the mutex: two operations on
//! `word` enclose the system call. `CLAIMED` means that a thread is inside `select`; `ATTENTION` that it
//! needs the mutex. Only a holder of the mutex sets `ATTENTION`, and only the end of a `select` that has the
//! mutex clears it.
//!
//! Invariants:
//!
//! - While `is_lent` is set, a thread is away with the backend, and no other uses it.
//! - While `asking` is not zero, a thread that has come home does not leave again.
//! - `is_poked` is set before a poke is sent, and cleared before the waker is drained, both under the mutex:
//!   while it is set, the next call of the backend returns.
//! - A thread that is away runs no code of the user's but a logger's, so asking does not wait for user code.

use std::time::Duration;
use std::{io, mem};

use super::environment::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use super::environment::{
    Condvar, End, HomeProcess, Mutex, MutexGuard, PoisonError, TryLockError, Waker, this_thread,
};

/// A thread is inside `select`.
pub(super) const CLAIMED: u32 = 1;
/// It needs the mutex before or after its wait.
pub(super) const ATTENTION: u32 = 1 << 1;

pub(crate) struct Protocol<T: Shareable> {
    pub(super) home: HomeProcess,
    pub(super) word: AtomicU32,
    /// The kernel object for a wait without the mutex. Set by the thread that has the claim.
    pub(super) kernel_object: AtomicI32,
    /// The thread that lends the selector to a closure of the user's, or zero.
    pub(super) lender: AtomicUsize,
    pub(super) waker: Waker,
    state: Mutex<State<T>>,
    /// A thread has come home, or a poke has failed.
    pub(super) came_home: Condvar,
    /// `asking` is zero.
    pub(super) all_served: Condvar,
}

pub(super) struct State<T> {
    pub(super) selector: T,
    /// Whether a thread has the claim and is not in its system call.
    pub(super) is_home: bool,
    /// Whether the thread with the claim has taken the backend along.
    pub(super) is_lent: bool,
    pub(super) is_poked: bool,
    /// Whether something was changed during the present wait.
    pub(super) has_changed: bool,
    /// How many threads wait for the other one to come home.
    pub(super) asking: usize,
}

/// The selector as the protocol sees it.
pub(crate) trait Shareable {
    type Events;
    /// The part that a wait takes along.
    type Backend;
    /// Messages that are logged when the mutex is released.
    type Messages;

    /// Whether a wait without a timeout takes nothing along and needs no step before or after it.
    fn is_plain(&self) -> bool;
    /// Whether the next wait begins with a step.
    fn is_due(&self) -> bool;
    /// Takes that step; returns the timeout of the call that follows.
    fn begin_wait(&mut self, timeout: Option<Duration>) -> Option<Duration>;
    /// Removes internal events, and decides whether the wait is over.
    fn end_wait(
        &mut self,
        result: io::Result<()>,
        events: &mut Self::Events,
        is_woken: bool,
    ) -> io::Result<End>;
    /// Sends the queued changes to a kernel object on which a thread may wait.
    fn apply_changes(&mut self);
    /// Removes events that an unregistered source or a former interest has caused.
    fn drop_outdated(&self, events: &mut Self::Events);
    fn take_messages(&mut self) -> Self::Messages;
    fn log(messages: Self::Messages);

    /// Hands out the backend, unless its kernel object accepts changes during a wait.
    fn lend(&mut self) -> Option<Self::Backend>;
    fn take_back(&mut self, backend: Self::Backend);
    fn wait(
        backend: &mut Self::Backend,
        events: &mut Self::Events,
        timeout: Option<Duration>,
    ) -> io::Result<()>;

    /// The number of a kernel object that accepts changes during a wait.
    fn kernel_object(&self) -> i32;
    fn wait_on(
        kernel_object: i32,
        events: &mut Self::Events,
        timeout: Option<Duration>,
    ) -> io::Result<()>;
    /// [`wait_on`](Self::wait_on) without a timeout, inlined. Returns whether there are events, and none
    /// is the waker's.
    fn wait_plainly(kernel_object: i32, events: &mut Self::Events) -> io::Result<bool>;
    /// Removes the waker's event; returns whether there was one.
    fn remove_waker(events: &mut Self::Events) -> bool;
}

/// The condition of a change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    /// No thread is away with the backend.
    Backend,
    /// No thread is away.
    NoWait,
}

impl<T: Shareable> Protocol<T> {
    /// `waker` belongs to the backend of `selector`.
    pub(crate) fn new(selector: T, waker: Waker) -> Self {
        let state = State {
            selector,
            is_home: false,
            is_lent: false,
            is_poked: false,
            has_changed: false,
            asking: 0,
        };
        Self {
            home: HomeProcess::here(),
            word: AtomicU32::new(ATTENTION),
            kernel_object: AtomicI32::new(-1),
            lender: AtomicUsize::new(0),
            waker,
            state: Mutex::new(state),
            came_home: Condvar::new(),
            all_served: Condvar::new(),
        }
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Makes a change, in effect when this returns. If it fails, `input` comes back.
    #[inline(always)]
    pub(crate) fn change<I, R>(
        &self,
        input: I,
        needs: impl Fn(&T) -> Needs,
        change: impl FnOnce(&mut T, I) -> R,
    ) -> Result<R, (io::Error, I)> {
        let mut state = match self.lock_for(needs) {
            Ok(state) => state,
            Err(error) => return Err((error, input)),
        };
        let result = change(&mut state.selector, input);
        self.settle(state);
        Ok(result)
    }

    /// Locks, and calls `read` unless this is a forked child.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&T) -> R) -> io::Result<R> {
        self.home.check()?;
        Ok(read(&self.lock().selector))
    }

    /// Lends the selector to user code.
    #[inline]
    pub(crate) fn lend<R>(&self, user: impl FnOnce(&mut T) -> Option<R>) -> Option<R> {
        struct Lending<'a>(&'a AtomicUsize);

        impl Drop for Lending<'_> {
            #[inline]
            fn drop(&mut self) {
                self.0.store(0, Ordering::Relaxed);
            }
        }

        self.home.check().ok()?;
        let mut state = self.lock();
        // In this order it is reset before the mutex is released, also by a panic.
        let lending = Lending(&self.lender);
        lending.0.store(this_thread(), Ordering::Relaxed);
        user(&mut state.selector)
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, State<T>> {
        match self.state.try_lock() {
            Ok(state) => state,
            // Only user code panics under the mutex, and it cannot break the selector.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.lock_contended(),
        }
    }

    #[cold]
    fn lock_contended(&self) -> MutexGuard<'_, State<T>> {
        self.check_lender();
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    pub(super) fn check_lender(&self) {
        assert!(
            self.lender.load(Ordering::Relaxed) != this_thread(),
            "the closure of `SharedSelector::with` calls the selector, which would wait for itself: \
             return a clone of the data from the closure, and call the selector afterwards"
        );
    }

    #[inline(always)]
    fn lock_for(&self, needs: impl Fn(&T) -> Needs) -> io::Result<MutexGuard<'_, State<T>>> {
        self.home.check()?;
        let state = self.lock();
        match needs(&state.selector) {
            Needs::Nothing => Ok(state),
            Needs::Backend if !state.is_lent => Ok(state),
            needs => self.ask(state, needs),
        }
    }

    /// Waits until no other operation conflicts.
    #[inline(never)]
    fn ask<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T>>,
        needs: Needs,
    ) -> io::Result<MutexGuard<'a, State<T>>> {
        // A thread that waits without the mutex acquires it when its wait ends.
        self.word.fetch_or(ATTENTION, Ordering::Relaxed);
        state.asking += 1;
        let result = loop {
            if !self.is_in_the_way(&state, needs) {
                break Ok(());
            }
            if mem::replace(&mut state.is_poked, true) {
                state = self.came_home.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(state);
            let result = self.waker.poke();
            state = self.lock();
            if result.is_err() {
                self.take_poke_back(&mut state);
                break result;
            }
        };
        state.asking -= 1;
        if state.asking == 0 {
            self.all_served.notify_one();
        }
        result.map(|()| state)
    }

    fn is_in_the_way(&self, state: &State<T>, needs: Needs) -> bool {
        match needs {
            Needs::Nothing => false,
            Needs::Backend => state.is_lent,
            Needs::NoWait => self.word.load(Ordering::Relaxed) & CLAIMED != 0 && !state.is_home,
        }
    }

    /// Other threads that rely on it send their own.
    fn take_poke_back(&self, state: &mut State<T>) {
        state.is_poked = false;
        self.came_home.notify_all();
    }

    /// Releases the mutex after a change.
    #[inline(always)]
    fn settle(&self, mut state: MutexGuard<'_, State<T>>) {
        // A wait that begins after the change sees it, because the kernel has a lock of its own.
        let before = self.word.load(Ordering::Relaxed);
        let is_plain = state.selector.is_plain();
        if is_plain && before & CLAIMED == 0 {
            return;
        }
        let before = match before & ATTENTION {
            0 => self.word.fetch_or(ATTENTION, Ordering::Relaxed),
            _ => before,
        };
        state.has_changed |= before & CLAIMED != 0;
        if !is_plain && before & CLAIMED != 0 {
            self.settle_during_wait(state);
        }
    }

    #[inline(never)]
    fn settle_during_wait(&self, mut state: MutexGuard<'_, State<T>>) {
        if state.is_home {
            return;
        }
        if !state.is_lent {
            state.selector.apply_changes();
        }
        if state.selector.is_due() && !mem::replace(&mut state.is_poked, true) {
            drop(state);
            if let Err(error) = self.waker.poke() {
                self.take_poke_back(&mut self.lock());
                log::error!("a change takes effect with the next wait: waking failed: {error}");
            }
        }
    }
}
