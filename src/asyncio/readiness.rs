//! The readiness of a direction, and the tasks that wait for it.
//!
//! Each direction of a source, reading and writing, is in one of these states. An operation is tried in
//! the upper three; in the lower three it waits.
//!
//! ```text
//!   Signalled ──success──▶ Partial ─┐
//!   Failing   ──success──▶    ▲     │
//!     ▲  │                    └─────┘ success
//!     │  │                     │
//!     │  │    WouldBlock, or   │
//!     │  │    a short read     │
//!     │  │    that proves it   │
//!     │  ├───────────▶ Empty ◀─┘
//!     │  │
//!     │  └─ Failing and level-triggered: WouldBlock ──▶ Stuck ──▶ Paused
//!     │                   │                                          │
//!     └──────── an event ─┴──────── 20 ms later ─────────────────────┘
//! ```
//!
//! `WouldBlock` proves that a direction is empty. A read that did not fill its buffer proves it
//! too in the cases that [`ShortRead`](super::short_read::ShortRead) lists, which saves a system call.
//!
//! `Stuck` and `Paused` exist only with level-triggered watches: there the kernel reports an error in every wait
//! until a call takes it, and the operation may not be that call.

use std::cell::Cell;
use std::io;
use std::task::{Context, Poll, Waker};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::io::retry_on_intr;

use super::runtime::operation_budget;
use super::waiters::{Entry, Waiters};
use crate::interest::Interest;
use crate::raw_event::POLL_IN;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// An event was reported, or none yet since the beginning.
    Signalled,
    /// An event with an error was reported.
    Failing,
    /// The last operation succeeded and may have left data.
    Partial,
    /// Nothing is ready until the next event.
    Empty,
    /// The kernel reports an error, and the operation would block nevertheless: another call has to
    /// take the error, for example from a socket's error queue.
    Stuck,
    /// Like `Stuck`; the direction is not watched until the pause is over.
    Paused,
}

/// The reading or the writing side of a source.
pub(super) struct Direction {
    pub(super) interest: Interest,
    pub(super) readiness: Cell<Readiness>,
    budget: Cell<u32>,
    pub(super) waiters: Waiters,
    /// The waiter of the `poll_…` functions of `futures-io`, which have no future to own one.
    polled: Cell<Entry>,
}

impl Direction {
    pub(super) fn new(interest: Interest) -> Self {
        Self {
            interest,
            // The first operation is tried immediately: a client has often sent its request by now, and
            // there is always room for the first answer.
            readiness: Cell::new(Readiness::Signalled),
            budget: Cell::new(operation_budget()),
            waiters: Waiters::default(),
            polled: Cell::new(Entry::SHARED),
        }
    }

    #[inline]
    pub(super) fn is_worth_trying(&self) -> bool {
        use Readiness::{Failing, Partial, Signalled};
        matches!(self.readiness.get(), Signalled | Failing | Partial)
    }

    /// Counts an operation, or yields before it.
    #[inline]
    pub(super) fn spend(&self, context: &Context<'_>) -> Poll<()> {
        match self.budget.get().checked_sub(1) {
            Some(left) => {
                self.budget.set(left);
                Poll::Ready(())
            }
            None => {
                self.budget.set(operation_budget());
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    #[inline]
    pub(super) fn succeeded(&self, has_more: bool) {
        self.readiness.set(if has_more { Readiness::Partial } else { Readiness::Empty });
    }

    #[inline]
    pub(super) fn blocked(&self, is_edge: bool) {
        let is_stuck = !is_edge && self.readiness.get() == Readiness::Failing;
        self.readiness.set(if is_stuck { Readiness::Stuck } else { Readiness::Empty });
    }

    /// Makes the next event wake the task.
    #[inline]
    pub(super) fn wait(&self, entry: &mut Entry, context: &Context<'_>) {
        if self.readiness.get() != Readiness::Paused {
            self.readiness.set(Readiness::Empty);
        }
        self.budget.set(operation_budget());
        self.waiters.enter(entry, context.waker());
    }

    /// Polls for a caller that has no future to own its waiter.
    pub(super) fn poll_unowned<R>(&self, poll: impl FnOnce(&mut Entry) -> Poll<R>) -> Poll<R> {
        let mut entry = self.polled.get();
        let result = poll(&mut entry);
        if result.is_ready() {
            self.waiters.leave(&mut entry);
        }
        self.polled.set(entry);
        result
    }

    #[inline]
    pub(super) fn has_waiter(&self, waker: &Waker) -> bool {
        self.waiters.has(waker)
    }

    pub(super) fn wake(&self, readiness: Readiness) {
        self.readiness.set(readiness);
        self.waiters.wake();
    }

    /// Returns the interest of the tasks that wait.
    pub(super) fn wanted(&self) -> Interest {
        let is_paused = self.readiness.get() == Readiness::Paused;
        if is_paused || self.waiters.is_empty() { Interest::empty() } else { self.interest }
    }

    /// Returns the current readiness of the direction, as the kernel reports it.
    pub(super) fn is_ready(&self, descriptor: BorrowedFd<'_>) -> io::Result<bool> {
        const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

        let is_reading = self.interest.contains(Interest::READABLE);
        let flag = if is_reading { POLL_IN } else { PollFlags::OUT };
        // With a signal pending, Linux returns `EINTR` even from a call that does not wait.
        let found = retry_on_intr(|| poll(&mut [PollFd::new(&descriptor, flag)], Some(&NO_TIME)))?;
        Ok(found > 0)
    }
}
