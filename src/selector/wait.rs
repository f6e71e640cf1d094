//! The wait, and the steps before and after it.

use std::time::{Duration, Instant};
use std::{fmt, hint, io, mem};

use super::Selector;
use super::modify::Rejection;
use super::timeout::{End, Timeout};
use crate::clock::Clock;
use crate::event::Events;
use crate::interest::Interest;
use crate::key::Token;
use crate::raw_event::bits;
use crate::ready::Ready;
use crate::registration::Registration;
#[cfg(feature = "testing")]
use crate::testing::Stuck;

impl<S, D> Selector<S, D> {
    /// Waits until a source is ready, a [`Waker`](crate::Waker) is used, or `timeout` has passed; returns
    /// the number of events, which are in `events`.
    ///
    /// `None` waits forever, [`Duration::ZERO`] does not wait. Any other timeout is exact to the nanosecond
    /// as far as the system can, never ends early, and may be as long as [`Duration::MAX`]. A signal does not
    /// end the wait, unless [`set_interruptible`](Self::set_interruptible) is on. The number is zero if the
    /// timeout has passed, or if a waker or a signal ended the wait.
    ///
    /// Blocks for up to `timeout` in the backend's system call; on epoll that is the only call unless
    /// a watch was modified.
    ///
    /// # Errors
    ///
    /// [`ForkedError`](crate::ForkedError), and the errors of the system call, such as `ENOMEM`. No event is
    /// lost: if some were found before an error, they are returned, and the next call returns the error if
    /// it persists. A descriptor that is not open is not an error but an event of its registration.
    ///
    /// ```
    /// use polyselect::{Events, Selector};
    /// use std::time::{Duration, Instant};
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
    pub(super) fn is_plain(&self) -> bool {
        let nothing_before = self.changes.is_empty() && self.rejected.is_empty();
        let nothing_after = self.oneshots == 0 && !self.has_stale_events;
        nothing_before && nothing_after && self.busy_poll.is_zero()
    }

    #[inline(never)]
    fn end_plain_wait(&mut self, result: io::Result<()>, events: &mut Events) -> io::Result<()> {
        let end = self.end_wait_and_log(result, events)?;
        if end.is_reached(self.interruptible) {
            return Ok(());
        }
        self.wait(events, Timeout::Forever)
    }

    #[inline(never)]
    fn select_in_steps(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.apply_changes();
        // There are `INVALID` events to report.
        let timeout = if self.rejected.is_empty() { timeout } else { Some(Duration::ZERO) };
        let timeout = Timeout::starting_now(timeout, self.clock.clone());
        if !self.busy_poll.is_zero() && self.spin(events, &timeout)? {
            return Ok(());
        }
        self.wait(events, timeout)
    }

    /// Adds an `INVALID` event for each registration whose last change was rejected.
    #[cold]
    fn report_rejected(
        &mut self,
        events: &mut Events,
        log: &mut impl FnMut(log::Level, fmt::Arguments<'_>),
    ) {
        let mut rejected = mem::take(&mut self.rejected);
        rejected.sort_by_key(|rejection| rejection.key);
        rejected.dedup_by_key(|rejection| rejection.key);
        for rejection in rejected {
            log(log::Level::Debug, format_args!("{rejection}"));
            let Rejection { key, .. } = rejection;
            if self.get(key).is_some_and(Registration::is_rejected) {
                events.push(Token::new(key, Interest::empty()), bits::NVAL);
            }
        }
    }

    fn wait(&mut self, events: &mut Events, timeout: Timeout) -> io::Result<()> {
        timeout.wait(self.interruptible, |timeout| self.wait_once(events, timeout))
    }

    /// Polls without sleeping for up to `busy_poll`; returns whether the end was reached.
    fn spin(&mut self, events: &mut Events, timeout: &Timeout) -> io::Result<bool> {
        let deadline = match timeout {
            Timeout::Zero => return Ok(false),
            Timeout::Forever => None,
            Timeout::Until { deadline, .. } => Some(*deadline),
        };
        let end = self.clock.now().checked_add(self.busy_poll).into_iter().chain(deadline).min();
        loop {
            if self.wait_once(events, Some(Duration::ZERO))? == End::Reached {
                return Ok(true);
            }
            if end.is_some_and(|end| self.clock.now() >= end) {
                return Ok(false);
            }
            hint::spin_loop();
        }
    }

    fn wait_once(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<End> {
        let result = self.poller.wait(events, timeout);
        self.end_wait_and_log(result, events)
    }

    fn end_wait_and_log(&mut self, result: io::Result<()>, events: &mut Events) -> io::Result<End> {
        #[cfg(feature = "testing")]
        let result = if self.is_of_loop { result } else { Stuck::check(result, || self.waiting()) };
        // On Unix the event decides, not the waker's state: a forked child shares the channel, not the state. On Windows
        // a change of the backend leaves a signal without a wake.
        let is_woken = match &self.waker {
            Some(waker) if events.remove_waker() => waker.take() || cfg!(unix),
            _ => false,
        };
        self.end_wait(result, events, is_woken, |level, message| log::log!(level, "{message}"))
    }

    /// Marks the selector as owned by a loop.
    #[cfg(feature = "testing")]
    pub(crate) fn set_of_loop(&mut self) {
        self.is_of_loop = true;
    }

    /// Lists the watches of the selector.
    #[cfg(feature = "testing")]
    fn waiting(&self) -> String {
        let sources = self
            .iter()
            .map(|(key, it)| format!("  {key}: descriptor {}, {:?}", it.descriptor, it.watch));
        format!("the selector waits for:\n{}", sources.collect::<Vec<_>>().join("\n"))
    }

    /// Removes internal events from a batch, and decides whether the wait is over.
    pub(super) fn end_wait(
        &mut self,
        result: io::Result<()>,
        events: &mut Events,
        is_woken: bool,
        mut log: impl FnMut(log::Level, fmt::Arguments<'_>),
    ) -> io::Result<End> {
        let is_interrupted = match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            // An error must not lose the events that were found before it.
            Err(error) if events.is_empty() && self.rejected.is_empty() && !is_woken => {
                return Err(error);
            }
            _ => false,
        };
        if self.oneshots > 0 {
            self.note_fired(events);
        }
        if self.has_stale_events {
            self.drop_stale_events(events, &mut log);
        }
        if is_interrupted && events.take_has_invalid() {
            self.silence_invalid(events);
        }
        if !self.rejected.is_empty() {
            self.report_rejected(events, &mut log);
        }
        Ok(match is_woken || !events.is_empty() {
            true => End::Reached,
            false if is_interrupted => End::Interrupted,
            false => End::Early,
        })
    }

    /// Drops events whose registration is gone or not watched any more. Such an event would come forever, and
    /// the only way to remove its cause is a new kernel object.
    #[cold]
    fn drop_stale_events(
        &mut self,
        events: &mut Events,
        log: &mut impl FnMut(log::Level, fmt::Arguments<'_>),
    ) {
        let before = events.len();
        let is_watched = |it: &Registration<S, D>| !it.applied.interest().is_empty();
        events.retain(|token| self.get(token.key()).is_some_and(is_watched));
        if events.len() == before {
            return;
        }
        let (is_nested, backend) = (self.is_nested, self.backend);
        match self.move_to(backend) {
            Ok(()) if is_nested => log(
                log::Level::Warn,
                format_args!(
                    "{backend}: rebuilt after a stale event; the descriptor for nesting is stale, too"
                ),
            ),
            Ok(()) => {
                log(log::Level::Debug, format_args!("{backend}: rebuilt after a stale event"));
            }
            // The next event of this kind tries again.
            Err(error) => log(
                log::Level::Debug,
                format_args!("{backend}: a stale event, and rebuilding failed: {error}"),
            ),
        }
    }

    /// Ends the watch of registrations that the backend has reported as invalid until it is set again.
    #[cold]
    fn silence_invalid(&mut self, events: &Events) {
        for event in events.iter().filter(|event| event.ready.contains(Ready::INVALID)) {
            if let Some(registration) = self.registrations.get_mut(event.key.slot())
                && registration.generation == event.key.generation()
            {
                let (descriptor, applied) = (registration.descriptor, registration.applied);
                registration.applied = registration.watch.with_interest(Interest::empty());
                // A failure here has the same cause as the event, which reports it.
                let _ = self.withdraw(event.key, descriptor, applied);
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

    /// Returns the present moment by the clock of the selector, by which its timeouts run.
    ///
    /// It is the system's monotonic clock, which each call reads. Does not block.
    ///
    /// ```
    /// # use polyselect::{Events, Selector};
    /// # let mut selector: Selector<std::net::TcpStream> = Selector::new()?;
    /// # let mut events = Events::with_capacity(8);
    /// use std::time::{Duration, Instant};
    ///
    /// let deadline = selector.now() + Duration::from_millis(2);
    /// selector.select(&mut events, deadline - selector.now())?;
    /// assert!(selector.now() >= deadline);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
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

    /// Sets the time for which `select` polls without sleeping before it sleeps. Zero, the default, turns it off.
    ///
    /// This trades processor time for latency: an event that comes within `duration` is returned without
    /// the sleep and the wake-up of the thread. It helps a program that talks to few peers which answer
    /// immediately, and only where it has a processor to itself.
    ///
    /// ```
    /// # use polyselect::Selector;
    /// use std::time::{Duration, Instant};
    ///
    /// # let mut selector: Selector<std::net::TcpStream> = Selector::new()?;
    /// selector.set_busy_poll(Duration::from_micros(50));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_busy_poll(&mut self, duration: Duration) {
        // A look never moves the clock of a lab.
        self.busy_poll = if self.clock.is_in_lab() { Duration::ZERO } else { duration };
    }
}
