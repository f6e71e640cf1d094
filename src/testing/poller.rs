//! A backend around another, which makes the decisions of a lab.

use std::time::Duration;
use std::{fmt, io};

use super::decisions::Kind;
use super::lab::Lab;
use super::log::Entry;
use super::pollers::Watched;
use super::stuck::Stuck;
use super::time::SHORTLY;
use crate::backend::{AnyPoller, Backend, Poller, ready_bits};
use crate::clock::nanoseconds;
use crate::descriptor::Descriptor;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;
use crate::ready::Ready;

/// How long a real wait lasts before it looks whether there is still work outside.
const SLICE: Duration = Duration::from_millis(5);

pub(crate) struct LabPoller {
    lab: Lab,
    inner: AnyPoller,
    id: usize,
    /// Memory for a batch.
    batch: Vec<(Token, u32)>,
}

/// The next step of a wait when nothing is ready.
enum Step {
    LookAgain,
    LookOnce,
    WaitOutside(Duration),
    WaitForNothing,
}

impl LabPoller {
    pub(crate) fn wrap(lab: &Lab, backend: Backend, inner: AnyPoller) -> Self {
        let id = lab.state().pollers.open(backend);
        Self { lab: lab.clone(), inner, id, batch: Vec::new() }
    }

    /// Looks without waiting.
    fn look(&mut self, events: &mut Events) -> io::Result<()> {
        self.lab.move_bytes();
        let again = {
            let mut state = self.lab.state();
            let now = state.time.now();
            state.pollers.rearm(self.id, now)
        };
        for Watched { descriptor, token, watch, .. } in again {
            self.inner.update(descriptor, token, watch.interest(), watch)?;
        }
        self.wait_really(events, Duration::ZERO)
    }

    fn wait_really(&mut self, events: &mut Events, timeout: Duration) -> io::Result<()> {
        let result = self.inner.wait(events, Some(timeout));
        self.disturb(events);
        result
    }

    /// Changes a batch as the lab decides.
    fn disturb(&mut self, events: &mut Events) {
        events.take(&mut self.batch);
        // Backends differ in the order of their events, and a run must not.
        self.batch.sort_by_key(|(token, _)| token.key().slot());
        self.complete_edges();
        self.add_spurious_edge();
        let mut batch = std::mem::take(&mut self.batch);
        batch.retain(|&(token, _)| !self.is_withheld(token));
        self.lab.shuffle(self.lab.disorder().order, Kind::Order, &mut batch);
        let mut state = self.lab.state();
        for (token, found) in batch.drain(..) {
            events.push(token, found);
            if token != Token::WAKER {
                let ready = Ready::from_poll_bits(found, token.interest());
                state.push(Entry::Event { slot: token.key().slot(), ready });
            }
        }
        drop(state);
        self.batch = batch;
    }

    /// Adds to each edge what else the source is ready for: some backends report that, and others the change alone.
    fn complete_edges(&mut self) {
        let mut state = self.lab.state();
        let poller = state.pollers.get(self.id);
        for (token, found) in &mut self.batch {
            if *token != Token::WAKER
                && let Some(watched) = poller.watched.get(&token.key().slot())
                && watched.watch.is_edge()
            {
                *found |= ready_bits(watched.descriptor, watched.watch.interest());
            }
        }
    }

    fn add_spurious_edge(&mut self) {
        let mut state = self.lab.state();
        let edges = state.pollers.get(self.id).may_be_spurious();
        if edges.is_empty() {
            return;
        }
        let chance = self.lab.disorder().spurious;
        let Some((decision, _)) = state.decide(chance, Kind::Spurious, 0) else { return };
        let chosen = edges[decision.below(edges.len() as u64) as usize];
        // Readiness is a hint; an urgent byte and the end of a stream are facts.
        let found = chosen.watch.interest().poll_bits() & (bits::IN | bits::OUT);
        let is_new = self.batch.iter().all(|(token, _)| token.key() != chosen.token.key());
        if is_new && found != 0 {
            self.batch.push((chosen.token, found));
        }
    }

    fn is_withheld(&self, token: Token) -> bool {
        if token == Token::WAKER {
            return false;
        }
        let slot = token.key().slot();
        let mut state = self.lab.state();
        let poller = state.pollers.get(self.id);
        let Some(&Watched { descriptor, .. }) = poller.watched.get(&slot) else { return false };
        if poller.is_nested {
            return false;
        }
        if let Some((_, time)) = state.decide(self.lab.disorder().delay, Kind::Delay, 2 * SHORTLY) {
            // Half of them come with the next look.
            let until = state.time.now() + time.saturating_sub(SHORTLY);
            state.pollers.silence(descriptor, until);
        }
        state.pollers.withholds(self.id, slot)
    }

    /// Lets time pass until something happens, if nothing is ready.
    fn pass_time(&mut self, deadline: Option<u64>, has_outside: bool) -> Step {
        let mut state = self.lab.state();
        let now = state.time.now();
        let own = [state.pollers.next_end(), self.lab.next_arrival()].into_iter().flatten().min();
        let end = own.into_iter().chain(deadline).min();
        if has_outside {
            let left = end.map_or(SLICE, |end| Duration::from_nanos(end.saturating_sub(now)));
            return if left.is_zero() {
                if own.is_some_and(|own| own <= now) { Step::LookAgain } else { Step::LookOnce }
            } else {
                Step::WaitOutside(left.min(SLICE))
            };
        }
        let Some(end) = end else { return Step::WaitForNothing };
        if deadline.is_none_or(|deadline| own.is_some_and(|own| own < deadline)) {
            state.time.jump_to(end);
            state.push(Entry::Jump);
            return Step::LookAgain;
        }
        let late = state.decide(self.lab.disorder().late, Kind::Late, SHORTLY);
        state.time.jump_to(end + late.map_or(0, |(_, late)| late));
        state.push(Entry::Jump);
        Step::LookOnce
    }

    fn wait_in_lab(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let deadline = {
            let mut state = self.lab.state();
            state.time.begin_wait().map_err(Stuck::error)?;
            timeout.map(|timeout| state.time.now().saturating_add(nanoseconds(timeout)))
        };
        // Read before the look: the bytes of a thread that sends and then ends are seen in the look.
        let mut has_outside = self.lab.has_outside();
        self.look(events)?;
        if timeout == Some(Duration::ZERO) || !events.is_empty() {
            return Ok(());
        }
        if self.lab.decide(self.lab.disorder().interrupt, Kind::Interrupt).is_some() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let has_waker = self.lab.state().pollers.get(self.id).has_waker;
        if has_waker && self.lab.decide(self.lab.disorder().wake, Kind::Wake).is_some() {
            events.push(Token::WAKER, bits::IN);
            return Ok(());
        }
        loop {
            let step = self.pass_time(deadline, has_outside);
            has_outside = self.lab.has_outside();
            match step {
                Step::LookAgain => self.look(events)?,
                Step::LookOnce => return self.look(events),
                Step::WaitOutside(slice) => {
                    self.wait_really(events, slice)?;
                    if events.is_empty() {
                        self.look(events)?;
                    }
                }
                Step::WaitForNothing => {
                    let mut result = self.inner.wait(events, Some(self.lab.patience()));
                    if events.is_empty() && result.is_ok() {
                        self.lab.move_bytes();
                        result = self.inner.wait(events, Some(Duration::ZERO));
                    }
                    // Before a spurious edge is added, which no thread has made.
                    let is_over = events.is_empty() && self.lab.next_arrival().is_none();
                    if is_over && !self.lab.has_outside() {
                        result?;
                        let message = "nothing is ready, and nothing is left that could come";
                        return Err(Stuck::error(message.to_owned()));
                    }
                    self.disturb(events);
                    self.lab.set_unguarded();
                    result?;
                }
            }
            if !events.is_empty() {
                return Ok(());
            }
        }
    }
}

impl Poller for LabPoller {
    fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        let is_new = old.is_empty() && !new.interest().is_empty();
        if is_new && self.lab.decide(self.lab.disorder().refuse, Kind::Refuse).is_some() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let result = self.inner.update(descriptor, token, old, new);
        // A removal always forgets the descriptor.
        if result.is_ok() || new.interest().is_empty() {
            self.lab.state().pollers.update(self.id, descriptor, token, new);
        }
        result
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let result = self.wait_in_lab(events, timeout);
        if timeout != Some(Duration::ZERO) && !self.lab.is_real() {
            let mut state = self.lab.state();
            let stall = self.lab.disorder().stall;
            if let Some((_, time)) = state.decide(stall, Kind::Stall, SHORTLY) {
                state.time.advance(time);
            }
        }
        result
    }

    #[cfg(windows)]
    fn port(&mut self) -> Option<std::sync::Arc<crate::backend::Port>> {
        let port = self.inner.port()?;
        self.lab.state().pollers.get(self.id).has_waker = true;
        Some(port)
    }

    #[cfg(unix)]
    fn descriptor(&mut self) -> io::Result<rustix::fd::OwnedFd> {
        let descriptor = self.inner.descriptor()?;
        self.lab.state().pollers.get(self.id).is_nested = true;
        Ok(descriptor)
    }
}

impl Drop for LabPoller {
    fn drop(&mut self) {
        self.lab.state().pollers.close(self.id);
    }
}

impl fmt::Debug for LabPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabPoller").field("inner", &self.inner).finish_non_exhaustive()
    }
}
