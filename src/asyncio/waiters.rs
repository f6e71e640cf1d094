//! [`Waiters`]: the tasks that wait for the same thing, each owned by the future that waits.
//!
//! A waiter is an [`Entry`]: it is made by [`Waiters::enter`], ends with the next [`Waiters::wake`], and
//! is removed by [`Waiters::leave`] when its future is dropped before that. Each of them takes constant
//! time, and a waiter that gave up leaves no memory behind. Wakers are cloned, woken and dropped while
//! nothing is borrowed, because a waker may poll, and so wait, inside `wake`.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::{Poll, Waker};

use slab::Slab;

/// An entry of [`Waiters`]. It waits while its `round` is the current one.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    slot: usize,
    round: u64,
    /// Whether several tasks may use it, one after another.
    is_shared: bool,
}

impl Entry {
    /// The entry of a future that has not waited yet.
    pub(super) const NONE: Self = Self { slot: 0, round: 0, is_shared: false };

    /// The entry of functions that poll without a future, which tasks may call one after another.
    pub(super) const SHARED: Self = Self { is_shared: true, ..Self::NONE };

    /// The slot of the only waiter.
    const FIRST: usize = usize::MAX;

    pub(super) const fn has_entered(self) -> bool {
        self.round != 0
    }
}

pub(super) struct Waiters {
    /// The waker of the first waiter. It stays after the wait, because the same task usually waits
    /// again, and then its waker need not be cloned.
    first: Cell<Option<Waker>>,
    is_first_waiting: Cell<bool>,
    /// The other waiters. The table is made when there are two for the first time.
    others: RefCell<Option<Box<Slab<Waker>>>>,
    /// Counts the calls of `wake`. It starts with one, so that no entry of round zero waits.
    round: Cell<u64>,
}

impl Default for Waiters {
    fn default() -> Self {
        Self {
            first: Cell::new(None),
            is_first_waiting: Cell::new(false),
            others: RefCell::default(),
            round: Cell::new(1),
        }
    }
}

impl Waiters {
    /// Whether no task waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        !self.is_first_waiting.get() && !self.has_others()
    }

    #[inline]
    fn has_others(&self) -> bool {
        self.others.borrow().as_ref().is_some_and(|others| !others.is_empty())
    }

    /// Whether the task with this waker waits.
    pub(super) fn has(&self, waker: &Waker) -> bool {
        let first = self.first.take();
        let is_first = first.as_ref().is_some_and(|first| first.will_wake(waker));
        self.first.set(first);
        let others = self.others.borrow();
        self.is_first_waiting.get() && is_first
            || others.iter().any(|it| it.iter().any(|(_, other)| other.will_wake(waker)))
    }

    /// Makes the next `wake` wake this task. An entry that waits already gets the new waker. If the entry is
    /// shared, the waker before is woken, so that no task waits for a wake that another one gets; the waker of
    /// a future is not, because a new waker for each poll would then wake its task forever.
    #[inline]
    pub(super) fn enter(&self, entry: &mut Entry, waker: &Waker) {
        if self.is_waiting(*entry) {
            return self.replace(*entry, waker);
        }
        if !self.is_first_waiting.get()
            && let Some(known) = self.first.take()
        {
            let is_same = known.will_wake(waker);
            self.first.set(Some(known));
            if is_same {
                self.is_first_waiting.set(true);
                (entry.slot, entry.round) = (Entry::FIRST, self.round.get());
                return;
            }
        }
        let (waker, round) = (waker.clone(), self.round.get());
        (entry.slot, entry.round) = (self.insert(waker), round);
    }

    #[cold]
    fn insert(&self, waker: Waker) -> usize {
        if self.is_first_waiting.replace(true) {
            return self.others.borrow_mut().get_or_insert_default().insert(waker);
        }
        drop(self.first.replace(Some(waker)));
        Entry::FIRST
    }

    fn replace(&self, entry: Entry, waker: &Waker) {
        let is_same = if entry.slot == Entry::FIRST {
            let known = self.first.take();
            let is_same = known.as_ref().is_some_and(|known| known.will_wake(waker));
            self.first.set(known);
            is_same
        } else {
            let others = self.others.borrow();
            let known = others.as_ref().and_then(|others| others.get(entry.slot));
            known.is_some_and(|known| known.will_wake(waker))
        };
        if !is_same {
            self.exchange(entry, waker.clone());
        }
    }

    #[cold]
    fn exchange(&self, entry: Entry, waker: Waker) {
        let mut others = self.others.borrow_mut();
        let before = if entry.slot == Entry::FIRST {
            self.first.replace(Some(waker))
        } else {
            let known = others.as_mut().and_then(|others| others.get_mut(entry.slot));
            known.map(|known| std::mem::replace(known, waker))
        };
        drop(others);
        if entry.is_shared {
            before.into_iter().for_each(Waker::wake);
        }
    }

    /// Ends the entry's wait, if no `wake` has.
    #[inline]
    pub(super) fn leave(&self, entry: &mut Entry) {
        if self.is_waiting(*entry) {
            self.remove(*entry);
        }
        (entry.slot, entry.round) = (0, 0);
    }

    #[cold]
    fn remove(&self, entry: Entry) {
        if entry.slot == Entry::FIRST {
            self.is_first_waiting.set(false);
        } else {
            let mut others = self.others.borrow_mut();
            let waker = others.as_mut().and_then(|others| others.try_remove(entry.slot));
            drop(others);
            drop(waker);
        }
    }

    #[inline]
    fn is_waiting(&self, entry: Entry) -> bool {
        entry.round == self.round.get()
    }

    /// Whether the entry waited and has been woken.
    #[inline]
    pub(super) fn is_woken(&self, entry: Entry) -> bool {
        entry.has_entered() && !self.is_waiting(entry)
    }

    /// Wakes every task that waits. Tasks that wait again meanwhile wait for the next call.
    #[inline]
    pub(super) fn wake(&self) {
        self.round.set(self.round.get() + 1);
        let is_first_waiting = self.is_first_waiting.replace(false);
        if self.has_others() {
            self.wake_all(is_first_waiting);
        } else if is_first_waiting {
            self.wake_first();
        }
    }

    #[inline]
    fn wake_first(&self) {
        let Some(waker) = self.first.take() else { return };
        waker.wake_by_ref();
        // A task that was polled inside `wake` may have waited again.
        let meanwhile = self.first.replace(Some(waker));
        if meanwhile.is_some() {
            self.first.set(meanwhile);
        }
    }

    #[cold]
    fn wake_all(&self, is_first_waiting: bool) {
        let mut others = self.others.take().unwrap_or_default();
        let mut panic = None;
        // A waker that panics must not prevent the wakes of the other tasks.
        let mut guarded = |wake: &mut dyn FnMut()| {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(wake)) {
                panic.get_or_insert(payload);
            }
        };
        if is_first_waiting {
            guarded(&mut || self.wake_first());
        }
        for waker in others.drain() {
            let mut waker = Some(waker);
            guarded(&mut || waker.take().into_iter().for_each(Waker::wake));
        }
        // The table's memory is reused, unless tasks that wait again have made another one.
        self.others.borrow_mut().get_or_insert(others);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }

    /// Returns the waiter of one future.
    #[inline]
    pub(super) const fn waiter(&self) -> Waiter<'_> {
        Waiter { waiters: self, entry: Entry::NONE }
    }

    /// Waits until `is_so` returns true. Calls it now and after each `wake`.
    pub(super) async fn until(&self, mut is_so: impl FnMut() -> bool) {
        let mut waiter = self.waiter();
        poll_fn(|context| {
            if is_so() {
                return Poll::Ready(());
            }
            self.enter(&mut waiter.entry, context.waker());
            Poll::Pending
        })
        .await;
    }
}

/// The waiter of one future, which is removed with it.
pub(super) struct Waiter<'a> {
    waiters: &'a Waiters,
    pub(super) entry: Entry,
}

impl Drop for Waiter<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.waiters.is_waiting(self.entry) {
            self.waiters.remove(self.entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn task() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    fn wakes(count: &Count) -> usize {
        count.0.load(Ordering::Relaxed)
    }

    #[test]
    fn every_waiter_is_woken_once_and_then_no_longer_waits() {
        let waiters = Waiters::default();
        let tasks: Vec<_> = (0..5).map(|_| task()).collect();
        let mut all: Vec<_> = tasks.iter().map(|_| waiters.waiter()).collect();
        for round in 1..=3 {
            for (waiter, (_, waker)) in all.iter_mut().zip(&tasks) {
                waiters.enter(&mut waiter.entry, waker);
                waiters.enter(&mut waiter.entry, waker);
                assert!(!waiters.is_woken(waiter.entry));
            }
            waiters.wake();
            assert!(waiters.is_empty());
            waiters.wake();
            assert!(all.iter().all(|waiter| waiters.is_woken(waiter.entry)));
            assert!(tasks.iter().all(|(count, _)| wakes(count) == round));
        }
    }

    #[test]
    fn a_waiter_that_gives_up_leaves_nothing_behind() {
        let waiters = Waiters::default();
        let (count, waker) = task();
        let mut stays = waiters.waiter();
        waiters.enter(&mut stays.entry, &waker);
        for _ in 0..1000 {
            let (_, other) = task();
            let mut waiter = waiters.waiter();
            waiters.enter(&mut waiter.entry, &other);
            drop((waiter, other));
        }
        assert_eq!(waiters.others.borrow().as_ref().map_or(0, |others| others.capacity()), 4);
        drop(stays);
        assert!(waiters.is_empty());
        waiters.wake();
        assert_eq!(wakes(&count), 0);
    }

    #[test]
    fn a_waiter_that_was_woken_removes_no_other_when_it_is_dropped() {
        let waiters = Waiters::default();
        let ((_, old), (count, new)) = (task(), task());
        let (mut first, mut second) = (waiters.waiter(), waiters.waiter());
        waiters.enter(&mut first.entry, &old);
        waiters.enter(&mut second.entry, &old);
        waiters.wake();
        let (mut third, mut fourth) = (waiters.waiter(), waiters.waiter());
        waiters.enter(&mut third.entry, &new);
        waiters.enter(&mut fourth.entry, &new);
        drop((first, second));
        waiters.wake();
        assert_eq!(wakes(&count), 2);
    }

    #[test]
    fn a_waker_that_waits_again_inside_wake_waits_for_the_next_one() {
        thread_local!(static WAITERS: Waiters = Waiters::default());

        #[derive(Default)]
        struct Again(AtomicUsize);

        impl Wake for Again {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
                WAITERS.with(|waiters| waiters.enter(&mut { Entry::NONE }, &self.into()));
            }
        }

        let tasks: [_; 3] = std::array::from_fn(|_| Arc::new(Again::default()));
        WAITERS.with(|waiters| {
            for task in &tasks {
                waiters.enter(&mut { Entry::NONE }, &Arc::clone(task).into());
            }
            for round in 1..=3 {
                waiters.wake();
                assert!(tasks.iter().all(|task| task.0.load(Ordering::Relaxed) == round));
            }
        });
    }

    #[test]
    fn a_panicking_waker_costs_no_other_task_its_wake() {
        struct Panics;

        impl Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("on purpose");
            }
        }

        let waiters = Waiters::default();
        let (count, waker) = task();
        let panics = Waker::from(Arc::new(Panics));
        let mut all: [_; 4] = std::array::from_fn(|_| waiters.waiter());
        for (waiter, waker) in all.iter_mut().zip([&panics, &waker, &panics, &waker]) {
            waiters.enter(&mut waiter.entry, waker);
        }
        assert!(catch_unwind(AssertUnwindSafe(|| waiters.wake())).is_err());
        assert_eq!(wakes(&count), 2);
        assert!(waiters.is_empty());
    }

    #[test]
    fn only_a_shared_waiter_that_moves_to_another_task_wakes_the_one_before() {
        for (entry, wakes_of_old) in [(Entry::NONE, 0), (Entry::SHARED, 1)] {
            let waiters = Waiters::default();
            let ((old_count, old), (new_count, new)) = (task(), task());
            let ((_, other), mut first) = (task(), waiters.waiter());
            for has_first in [false, true] {
                if has_first {
                    waiters.enter(&mut first.entry, &other);
                }
                let mut entry = entry;
                waiters.enter(&mut entry, &old);
                waiters.enter(&mut entry, &new);
                waiters.wake();
            }
            assert_eq!((wakes(&old_count), wakes(&new_count)), (2 * wakes_of_old, 2));
        }
    }

    #[test]
    fn until_asks_again_after_each_wake() {
        let (waiters, is_so) = (Waiters::default(), Cell::new(false));
        let (count, waker) = task();
        let mut context = Context::from_waker(&waker);
        let mut until = pin!(waiters.until(|| is_so.get()));
        assert!(until.as_mut().poll(&mut context).is_pending());
        waiters.wake();
        assert!(until.as_mut().poll(&mut context).is_pending());
        is_so.set(true);
        waiters.wake();
        assert!(until.as_mut().poll(&mut context).is_ready());
        assert_eq!(wakes(&count), 2);
    }
}
