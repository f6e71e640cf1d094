//! Work outside of a lab: while there is some, time goes at the real pace.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use super::lab::Lab;
use crate::this_thread::this_thread;

/// The guards of a lab.
pub(super) struct Guards {
    /// The thread of the lab.
    thread: usize,
    /// How many guards there are; changed under the lock of the lab's state.
    outside: AtomicUsize,
    /// Whether another thread has woken a loop while there was no guard.
    is_unguarded: AtomicBool,
}

impl Guards {
    pub(super) fn new(outside: usize) -> Self {
        let (outside, is_unguarded) = (AtomicUsize::new(outside), AtomicBool::new(false));
        Self { thread: this_thread(), outside, is_unguarded }
    }
}

impl Lab {
    /// Announces work outside of the lab, whose results the program may wait for. Until the guard is dropped, time goes at
    /// the real pace.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use polyselect::testing::{Disorder, Lab};
    ///
    /// let lab = Lab::new(1, Disorder::none());
    /// let mut event_loop = EventLoop::in_lab(&lab, 0)?;
    /// let (remote, outside) = (event_loop.remote()?, lab.outside());
    /// let thread = std::thread::spawn(move || {
    ///     remote.call(|event_loop| event_loop.state = 42).unwrap();
    ///     drop((remote, outside));
    /// });
    /// event_loop.run()?;
    /// thread.join().unwrap();
    /// assert_eq!(event_loop.state, 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use = "the work is over when the guard is dropped"]
    pub fn outside(&self) -> Outside {
        self.change_outside(|outside| outside + 1);
        Outside(self.clone())
    }

    fn change_outside(&self, change: impl Fn(usize) -> usize) {
        let mut state = self.state();
        let outside = change(self.0.guards.outside.load(Ordering::Relaxed));
        self.0.guards.outside.store(outside, Ordering::Release);
        if !self.is_real() {
            state.time.go_really(outside > 0);
        }
    }

    pub(super) fn has_outside(&self) -> bool {
        self.0.guards.outside.load(Ordering::Acquire) > 0
    }

    /// Runs `work` on a thread that counts as outside until it has ended.
    ///
    /// ```
    /// # use polyselect::testing::{Disorder, Lab};
    /// let thread = Lab::new(1, Disorder::none()).thread(|| 6 * 7);
    /// assert_eq!(thread.join().unwrap(), 42);
    /// ```
    pub fn thread<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> JoinHandle<R> {
        let outside = self.outside();
        thread::spawn(move || {
            let result = work();
            drop(outside);
            result
        })
    }

    /// Notes that a loop of the lab is woken. May be called inside a signal.
    pub(crate) fn note_wake(&self) {
        if this_thread() != self.0.guards.thread && !self.has_outside() {
            self.set_unguarded();
        }
    }

    pub(super) fn set_unguarded(&self) {
        self.0.guards.is_unguarded.store(true, Ordering::Release);
    }

    pub(super) fn is_unguarded(&self) -> bool {
        self.0.guards.is_unguarded.load(Ordering::Acquire)
    }
}

/// Work outside of a lab, until this is dropped; [`Lab::outside`] returns it.
///
/// ```
/// use polyselect::testing::{Disorder, Lab, Outside};
/// use std::{thread, time::Duration};
///
/// let lab = Lab::new(1, Disorder::none());
/// let outside: Outside = lab.outside();
/// thread::sleep(Duration::from_millis(1));
/// drop(outside);
/// assert!(lab.elapsed() >= Duration::from_millis(1));
/// ```
#[derive(Debug)]
pub struct Outside(Lab);

impl Clone for Outside {
    fn clone(&self) -> Self {
        self.0.outside()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.0.change_outside(|outside| outside - 1);
    }
}
