//! The side of the thread that waits.

use std::time::Duration;
use std::{io, mem};

use super::environment::atomic::Ordering;
use super::environment::{Clock, End, MutexGuard, PoisonError, Timeout};
use super::protocol::{ATTENTION, CLAIMED, Protocol, Shareable, State};

impl<T: Shareable> Protocol<T> {
    /// Waits; `events` are empty.
    #[inline(always)]
    pub(crate) fn select(
        &self,
        events: &mut T::Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.home.check()?;
        if timeout.is_some() || !self.claim_plainly() {
            return self.select_in_steps(events, timeout);
        }
        let result = T::wait_plainly(self.kernel_object.load(Ordering::Relaxed), events);
        if matches!(result, Ok(true)) && self.exchange(CLAIMED, 0, Ordering::Release) {
            return Ok(());
        }
        self.end_plain_wait(result.map(drop), events)
    }

    #[inline(always)]
    fn claim_plainly(&self) -> bool {
        if self.lender.load(Ordering::Relaxed) != 0 {
            self.check_lender();
        }
        // Acquire: the kernel object is the one of the thread that had the claim before.
        self.exchange(0, CLAIMED, Ordering::Acquire)
    }

    #[inline(always)]
    fn exchange(&self, old: u32, new: u32, order: Ordering) -> bool {
        self.word.compare_exchange(old, new, order, Ordering::Relaxed).is_ok()
    }

    #[inline(never)]
    fn select_in_steps(&self, events: &mut T::Events, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = Timeout::starting_now(timeout, Clock::system());
        Waiting::claim(self)?.wait(events, timeout)
    }

    #[inline(never)]
    fn end_plain_wait(&self, result: io::Result<()>, events: &mut T::Events) -> io::Result<()> {
        Waiting::away(self).go_on(result, events)
    }
}

/// The claim of a thread that is inside `select` and needs the mutex. Dropping it ends the claim.
struct Waiting<'a, T: Shareable> {
    protocol: &'a Protocol<T>,
    /// `None` while the thread is away.
    state: Option<MutexGuard<'a, State<T>>>,
    /// The backend, while the thread is away with it.
    backend: Option<T::Backend>,
}

impl<'a, T: Shareable> Waiting<'a, T> {
    /// Fails if another thread has the claim.
    fn claim(protocol: &'a Protocol<T>) -> io::Result<Self> {
        let mut state = protocol.lock();
        if protocol.word.fetch_or(CLAIMED, Ordering::Acquire) & CLAIMED != 0 {
            drop(state);
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another thread is inside `select` of this selector: only one can wait at a time",
            ));
        }
        state.is_home = true;
        Ok(Self { protocol, state: Some(state), backend: None })
    }

    /// The claim of this thread, which has made its system call without the mutex.
    fn away(protocol: &'a Protocol<T>) -> Self {
        Self { protocol, state: None, backend: None }
    }

    fn wait(mut self, events: &mut T::Events, timeout: Timeout) -> io::Result<()> {
        timeout.wait(false, |timeout| self.wait_once(events, timeout))
    }

    /// Ends a call of the backend that had no timeout, and waits again if it has brought nothing.
    fn go_on(mut self, result: io::Result<()>, events: &mut T::Events) -> io::Result<()> {
        match self.end_call(result, events)? {
            End::Reached => Ok(()),
            End::Interrupted | End::Early => self.wait(events, Timeout::Forever),
        }
    }

    fn wait_once(&mut self, events: &mut T::Events, timeout: Option<Duration>) -> io::Result<End> {
        let (kernel_object, timeout) = self.leave(timeout);
        let result = match &mut self.backend {
            Some(backend) => T::wait(backend, events, timeout),
            None => T::wait_on(kernel_object, events, timeout),
        };
        self.end_call(result, events)
    }

    /// Releases the mutex for a call of the backend.
    fn leave(&mut self, timeout: Option<Duration>) -> (i32, Option<Duration>) {
        let mut state = self.state.take().unwrap_or_else(|| self.protocol.lock());
        while state.asking > 0 {
            let served = self.protocol.all_served.wait(state);
            state = served.unwrap_or_else(PoisonError::into_inner);
        }
        let timeout = state.selector.begin_wait(timeout);
        let kernel_object = state.selector.kernel_object();
        self.backend = state.selector.lend();
        state.is_lent = self.backend.is_some();
        state.is_home = false;
        let messages = state.selector.take_messages();
        drop(state);
        T::log(messages);
        (kernel_object, timeout)
    }

    /// Acquires the mutex after a call of the backend.
    fn come_home(&mut self) -> &mut State<T> {
        let state = self.state.insert(self.protocol.lock());
        if let Some(backend) = self.backend.take() {
            state.selector.take_back(backend);
        }
        state.is_lent = false;
        state.is_home = true;
        if state.asking > 0 {
            self.protocol.came_home.notify_all();
        }
        state
    }

    fn end_call(&mut self, result: io::Result<()>, events: &mut T::Events) -> io::Result<End> {
        let waker = &self.protocol.waker;
        let state = self.come_home();
        let mut is_woken = false;
        if T::remove_waker(events) {
            state.is_poked = false;
            is_woken = waker.take();
        }
        if mem::take(&mut state.has_changed) {
            state.selector.drop_outdated(events);
        }
        state.selector.end_wait(result, events, is_woken)
    }
}

/// Also after a panic of the backend.
impl<T: Shareable> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        if self.state.is_none() {
            self.come_home();
        }
        let Some(mut state) = self.state.take() else { return };
        let messages = state.selector.take_messages();
        state.is_home = false;
        self.protocol.kernel_object.store(state.selector.kernel_object(), Ordering::Relaxed);
        let is_plain = state.asking == 0 && state.selector.is_plain();
        // Release: a thread that then waits without the mutex sees the kernel object.
        self.protocol.word.store(if is_plain { 0 } else { ATTENTION }, Ordering::Release);
        drop(state);
        T::log(messages);
    }
}
