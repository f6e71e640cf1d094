//! The wait, and what has to be done before and after it.

use std::time::{Duration, Instant};
use std::{hint, io};

use super::Selector;
use crate::event::Events;
use crate::interest::Interest;
use crate::key::Token;
use crate::raw_event::bits;
use crate::waker::Waker;

impl<S, D> Selector<S, D> {
    /// Waits until something is ready, a [`Waker`] is used, or `timeout` has passed; says how many
    /// events there are, and leaves them in `events`.
    ///
    /// `None` waits for ever, [`Duration::ZERO`] looks and does not wait. Any other timeout is kept
    /// to the nanosecond as far as the system can, never returns early, and may be as long as
    /// [`Duration::MAX`]. A signal does not end the wait, unless
    /// [`set_interruptible`](Self::set_interruptible) says so. The count is zero if the time is up,
    /// if a waker ended the wait, or if a signal did.
    ///
    /// Blocks for that long in the mechanism's system call: one wait, and no other call while nothing
    /// was modified.
    ///
    /// # Errors
    ///
    /// `Other` after a fork; and what the system call gives when there is no memory (`ENOMEM`). A
    /// bad descriptor is no error but an event of its registration.
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
    // Inlined with the system call in it: see `backend/direct.rs`.
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
            // The common wait, straight to the mechanism and straight back.
            match self.mechanism.wait_directly(events) {
                Ok(()) => {
                    if events.is_empty() || self.is_woken() && !self.settle(events)? {
                        self.select_in_steps(events, timeout)?;
                    }
                }
                Err(error) => self.resume(error, events)?,
            }
        } else {
            self.select_in_steps(events, timeout)?;
        }
        log::trace!("{} events", events.len());
        Ok(events.len())
    }

    /// Whether a wait needs no step before or after it.
    #[inline]
    fn is_plain(&self) -> bool {
        let nothing_before = self.changes.is_empty() && self.refused.is_empty();
        let nothing_after = self.oneshots == 0 && !self.stale_events;
        nothing_before && nothing_after && self.nest.is_none() && self.busy_poll.is_zero()
    }

    #[inline]
    fn is_woken(&self) -> bool {
        self.waker.as_ref().is_some_and(Waker::is_woken)
    }

    #[inline(never)]
    fn select_in_steps(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if !self.changes.is_empty() || !self.refused.is_empty() {
            self.tell_news(events);
        }
        match timeout {
            _ if !events.is_empty() => self.look(events)?,
            Some(Duration::ZERO) => self.look(events)?,
            None if self.busy_poll.is_zero() => self.wait_for_ever(events)?,
            timeout => self.wait_until(events, timeout)?,
        }
        self.refresh_nest();
        Ok(())
    }

    /// Goes on after a plain wait that failed, if that was a signal's doing.
    #[cold]
    fn resume(&mut self, error: io::Error, events: &mut Events) -> io::Result<()> {
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
        if self.interruptible { Ok(()) } else { self.select_in_steps(events, None) }
    }

    /// Tells the mechanism what changed, and the user what was refused.
    fn tell_news(&mut self, events: &mut Events) {
        self.apply_changes();
        while let Some(&key) = self.refused.last() {
            if self.contains(key) && !events.push(Token::new(key, Interest::empty()), bits::NVAL) {
                break;
            }
            self.refused.pop();
        }
    }

    /// Adds what is ready now to a batch that may hold something already.
    fn look(&mut self, events: &mut Events) -> io::Result<()> {
        if events.room() > 0 {
            self.wait_once(events, Some(Duration::ZERO))?;
            self.settle(events)?;
        }
        Ok(())
    }

    fn wait_for_ever(&mut self, events: &mut Events) -> io::Result<()> {
        loop {
            let interrupted = self.wait_once(events, None)?;
            if self.settle(events)? || interrupted && self.interruptible {
                return Ok(());
            }
        }
    }

    fn wait_until(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        /// Longer waits are made of several; every system call can take this one.
        const LONGEST: Duration = Duration::from_secs(24 * 24 * 60 * 60);

        // A deadline beyond what the clock can say is as good as none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        if !self.busy_poll.is_zero() && self.look_for_a_while(events, deadline)? {
            return Ok(());
        }
        let Some(deadline) = deadline else { return self.wait_for_ever(events) };
        let mut left = timeout.unwrap_or(LONGEST);
        loop {
            let interrupted = self.wait_once(events, Some(left.min(LONGEST)))?;
            if self.settle(events)? || interrupted && self.interruptible {
                return Ok(());
            }
            left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    /// One call of the mechanism, and whether a signal ended it.
    fn wait_once(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<bool> {
        match self.mechanism.wait(events, timeout) {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Looks again and again without sleeping, for as long as `busy_poll` says.
    fn look_for_a_while(
        &mut self,
        events: &mut Events,
        deadline: Option<Instant>,
    ) -> io::Result<bool> {
        let now = Instant::now();
        let end = now.checked_add(self.busy_poll).into_iter().chain(deadline).min();
        loop {
            self.wait_once(events, Some(Duration::ZERO))?;
            if self.settle(events)? {
                return Ok(true);
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return Ok(false);
            }
            hint::spin_loop();
        }
    }

    /// Takes out of a batch what is not the user's, and says whether there is a reason to return.
    fn settle(&mut self, events: &mut Events) -> io::Result<bool> {
        let woken = self.is_woken() && self.take_wake(events)?;
        if self.stale_events {
            self.drop_stale_events(events)?;
        }
        if self.oneshots > 0 {
            self.note_spent(events);
        }
        Ok(woken || !events.is_empty())
    }

    /// Removes the waker's event, if there is one, and spends the wake.
    fn take_wake(&mut self, events: &mut Events) -> io::Result<bool> {
        let was_full = events.room() == 0;
        let before = events.len();
        events.retain(|token| token != Token::WAKER);
        if events.len() == before {
            return Ok(false);
        }
        if let Some(waker) = &self.waker {
            waker.take();
        }
        if was_full {
            // The waker has had a place that another one may have needed. For a single place those
            // who report in different ways (files that are always ready, edges, the rest) take turns:
            // after so many looks each has had one.
            for _ in 0..4 {
                self.wait_once(events, Some(Duration::ZERO))?;
                events.retain(|token| token != Token::WAKER);
                events.merge_last();
                if events.room() == 0 {
                    break;
                }
            }
        }
        Ok(true)
    }

    /// Drops events whose registration is gone. Such an event would come for ever, and there is no
    /// way to remove its cause but a new kernel object.
    #[cold]
    fn drop_stale_events(&mut self, events: &mut Events) -> io::Result<()> {
        let before = events.len();
        events.retain(|token| self.get(token.key()).is_some());
        if events.len() < before {
            log::debug!("{}: an event of a removed registration; opening it anew", self.backend);
            self.rebuild()?;
        }
        Ok(())
    }

    fn note_spent(&mut self, events: &Events) {
        for index in 0..events.len() {
            let key = events.token(index).key();
            if let Some(registration) = self.registrations.get_mut(key.slot())
                && registration.generation == key.generation()
            {
                registration.spent |= registration.watch.is_oneshot();
            }
        }
    }

    /// Whether a signal ends a wait early. It does not by default: the wait goes on with the time
    /// that is left.
    ///
    /// With this on, `select` may return with no event before its time, with or without a signal,
    /// and it can miss one that comes just before the wait begins. For certainty let the signal's
    /// handler write to a pipe that is registered, or use a [`Waker`].
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

    /// Makes `select` look again and again for so long before it goes to sleep. Zero, which is how
    /// a selector starts, turns it off.
    ///
    /// This trades processor time for latency: an event that comes within `duration` is seen
    /// without the sleep and the wake-up of the thread. It helps a program that talks to few peers
    /// which answer at once, and only where it has a processor to itself.
    ///
    /// ```
    /// # use polyselect::Selector;
    /// use std::time::Duration;
    ///
    /// # let mut selector: Selector<std::net::TcpStream> = Selector::new()?;
    /// selector.busy_poll(Duration::from_micros(50));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn busy_poll(&mut self, duration: Duration) {
        self.busy_poll = duration;
    }
}
