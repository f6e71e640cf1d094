//! The wait, and the steps before and after it.

use std::time::{Duration, Instant};
use std::{hint, io};

use super::Selector;
use crate::event::Events;
use crate::interest::Interest;
use crate::key::Token;
use crate::raw_event::bits;
use crate::registration::Registration;

impl<S, D> Selector<S, D> {
    /// Waits until a source is ready, a [`Waker`](crate::Waker) is used, or `timeout` has passed; returns
    /// the number of events, which are in `events`.
    ///
    /// `None` waits forever, [`Duration::ZERO`] does not wait. Any other timeout is exact to the nanosecond
    /// as far as the system can, never ends early, and may be as long as [`Duration::MAX`]. A signal does not
    /// end the wait, unless [`set_interruptible`](Self::set_interruptible) is on. The number is zero if the
    /// timeout has passed, or if a waker or a signal ended the wait.
    ///
    /// Blocks for up to `timeout` in the backend's system call; on epoll there is no other call unless
    /// something was modified.
    ///
    /// # Errors
    ///
    /// [`ForkedError`](crate::ForkedError), and the errors of the system call, such as `ENOMEM`. No event is
    /// lost: if some were found before an error, they are returned, and the next call returns the error if
    /// it persists. A descriptor that is not open is not an error but an event of its registration.
    ///
    /// ```
    /// use polyselect::{Events, Selector};
    /// use std::time::Duration;
    ///
    /// let mut selector: Selector<std::net::TcpStream> = Selector::new()?;
    /// let mut events = Events::with_capacity(1024);
    /// assert_eq!(selector.select(&mut events, Duration::from_millis(1))?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    // Inlined with epoll's system call: see `backend/epoll.rs`.
    #[inline(always)]
    pub fn select(
        &mut self,
        events: &mut Events,
        timeout: impl Into<Option<Duration>>,
    ) -> io::Result<usize> {
        self.home.check()?;
        events.clear();
        let timeout = timeout.into();
        if timeout.is_none() && self.is_plain() {
            // The usual wait needs one system call and no step before or after it.
            let result = self.poller.wait(events, None);
            let has_waker = self.waker.is_some() && events.has_waker();
            if result.is_err() || events.is_empty() || has_waker {
                self.end_plain_wait(result, events)?;
            }
        } else {
            self.select_in_steps(events, timeout)?;
        }
        log::trace!("{} events", events.len());
        Ok(events.len())
    }

    #[inline]
    fn is_plain(&self) -> bool {
        let nothing_before = self.changes.is_empty() && self.rejected.is_empty();
        let nothing_after = self.oneshots == 0 && !self.has_stale_events;
        nothing_before && nothing_after && self.busy_poll.is_zero()
    }

    #[inline(never)]
    fn end_plain_wait(&mut self, result: io::Result<()>, events: &mut Events) -> io::Result<()> {
        let end = self.end_wait(result, events)?;
        if end.is_reached(self.interruptible) { Ok(()) } else { self.wait_forever(events) }
    }

    #[inline(never)]
    fn select_in_steps(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.apply_changes();
        if !self.rejected.is_empty() {
            return self.select_beside_rejected(events);
        }
        match timeout {
            Some(Duration::ZERO) => self.wait_once(events, timeout).map(drop),
            None if self.busy_poll.is_zero() => self.wait_forever(events),
            timeout => self.wait_until(events, timeout),
        }
    }

    /// Does not wait, because there are `INVALID` events to report.
    #[cold]
    fn select_beside_rejected(&mut self, events: &mut Events) -> io::Result<()> {
        let result = self.wait_once(events, Some(Duration::ZERO));
        let mut rejected = std::mem::take(&mut self.rejected);
        rejected.sort_unstable();
        rejected.dedup();
        for key in rejected {
            if self.get(key).is_some_and(Registration::is_rejected) {
                events.push(Token::new(key, Interest::empty()), bits::NVAL);
            }
        }
        if events.is_empty() { result.map(drop) } else { Ok(()) }
    }

    fn wait_forever(&mut self, events: &mut Events) -> io::Result<()> {
        while !self.wait_once(events, None)?.is_reached(self.interruptible) {}
        Ok(())
    }

    fn wait_until(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        /// A longer wait consists of several; every system call accepts this.
        const LONGEST: Duration = Duration::from_secs(24 * 24 * 60 * 60);

        // A deadline that the clock cannot represent is never reached.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        if !self.busy_poll.is_zero() && self.spin(events, deadline)? {
            return Ok(());
        }
        let Some(deadline) = deadline else { return self.wait_forever(events) };
        let mut left = timeout.unwrap_or(LONGEST);
        loop {
            let end = self.wait_once(events, Some(left.min(LONGEST)))?;
            if end.is_reached(self.interruptible) {
                return Ok(());
            }
            left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    /// Polls without sleeping for as long as `busy_poll` says.
    fn spin(&mut self, events: &mut Events, deadline: Option<Instant>) -> io::Result<bool> {
        let now = Instant::now();
        let end = now.checked_add(self.busy_poll).into_iter().chain(deadline).min();
        loop {
            if self.wait_once(events, Some(Duration::ZERO))? == End::Reached {
                return Ok(true);
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return Ok(false);
            }
            hint::spin_loop();
        }
    }

    fn wait_once(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<End> {
        let result = self.poller.wait(events, timeout);
        self.end_wait(result, events)
    }

    /// Removes what is not for the user from a batch, and decides whether the wait is over.
    fn end_wait(&mut self, result: io::Result<()>, events: &mut Events) -> io::Result<End> {
        let interrupted = match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            // An error must not lose the events that were found before it.
            Err(error) if events.is_empty() => return Err(error),
            _ => false,
        };
        let mut woken = false;
        // The event decides, not the waker's state: a forked child shares the channel, not the state.
        if let Some(waker) = &self.waker
            && events.remove_waker()
        {
            waker.take();
            woken = true;
        }
        if self.oneshots > 0 {
            self.note_fired(events);
        }
        if self.has_stale_events {
            self.drop_stale_events(events);
        }
        #[cfg(kqueue)]
        if self.backend == crate::Backend::Kqueue {
            self.note_rejected(events);
        }
        Ok(match woken || !events.is_empty() {
            true => End::Reached,
            false if interrupted => End::Interrupted,
            false => End::Early,
        })
    }

    /// Drops events whose registration is gone or not watched any more. Such an event would come forever, and
    /// the only way to remove its cause is a new kernel object.
    #[cold]
    fn drop_stale_events(&mut self, events: &mut Events) {
        let before = events.len();
        let is_watched = |it: &Registration<S, D>| !it.applied.interest().is_empty();
        events.retain(|token| self.get(token.key()).is_some_and(is_watched));
        if events.len() == before {
            return;
        }
        if self.is_nested {
            log::warn!("{}: a stale event; the descriptor for nesting is stale, too", self.backend);
        }
        if let Err(error) = self.rebuild() {
            // The next event of this kind tries again.
            log::debug!("{}: a stale event, and rebuilding failed: {error}", self.backend);
        }
    }

    /// kqueue makes changes with the wait, which reports those that the kernel rejects.
    #[cfg(kqueue)]
    fn note_rejected(&mut self, events: &Events) {
        for event in events.iter().filter(|event| event.ready.contains(crate::Ready::INVALID)) {
            if let Some(registration) = self.registrations.get_mut(event.key.slot())
                && registration.generation == event.key.generation()
            {
                let (descriptor, applied) = (registration.descriptor, registration.applied);
                registration.applied = registration.watch.with_interest(Interest::empty());
                self.withdraw(event.key, descriptor, applied);
            }
        }
    }

    fn note_fired(&mut self, events: &Events) {
        for index in 0..events.len() {
            let key = events.token(index).key();
            if let Some(registration) = self.registrations.get_mut(key.slot())
                && registration.generation == key.generation()
            {
                registration.has_fired |= registration.watch.is_oneshot();
            }
        }
    }

    /// Sets whether a signal ends a wait early. By default it does not: the wait continues with the time
    /// that is left.
    ///
    /// If it is on, `select` may return without an event before `timeout` has passed, with or without a
    /// signal, and it can miss a signal that comes just before the wait begins. To be certain, let the
    /// signal's handler write to a registered pipe, or use a [`Waker`](crate::Waker).
    ///
    /// ```
    /// # use polyselect::Selector;
    /// # let mut selector: Selector<std::net::TcpStream> = Selector::new()?;
    /// selector.set_interruptible(true);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_interruptible(&mut self, interruptible: bool) {
        self.interruptible = interruptible;
    }

    /// Sets for how long `select` polls without sleeping before it sleeps. Zero, the default, turns it off.
    ///
    /// This trades processor time for latency: an event that comes within `duration` is returned without
    /// the sleep and the wake-up of the thread. It helps a program that talks to few peers which answer
    /// immediately, and only where it has a processor to itself.
    ///
    /// ```
    /// # use polyselect::Selector;
    /// use std::time::Duration;
    ///
    /// # let mut selector: Selector<std::net::TcpStream> = Selector::new()?;
    /// selector.set_busy_poll(Duration::from_micros(50));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_busy_poll(&mut self, duration: Duration) {
        self.busy_poll = duration;
    }
}

/// How one call of the backend ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// There are events, or a waker was used.
    Reached,
    /// A signal ended the call.
    Interrupted,
    /// The timeout of the call has passed, or its event was not for the user.
    Early,
}

impl End {
    fn is_reached(self, interruptible: bool) -> bool {
        match self {
            Self::Reached => true,
            Self::Interrupted => interruptible,
            Self::Early => false,
        }
    }
}
