//! One iteration of the loop: its steps, in the order that [`EventLoop`] promises.

use std::io;
use std::time::Duration;

use super::EventLoop;
use super::call_user::{Iteration, Late, Place, Registrant, Replaced};
use super::handler::{Answer, Handler};
use crate::event::Event;
use crate::ready::Ready;
#[cfg(feature = "testing")]
use crate::testing::Stuck;

impl<T: 'static> EventLoop<T> {
    /// The numbers are those of the order that [`EventLoop`] promises.
    // Inlined with the wait in it: a return past a long system call is expensive on some processors.
    #[inline(always)]
    pub(super) fn iterate(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let iteration = Iteration::begin(self)?;
        let result = self.iterate_in(&iteration, timeout);
        iteration.finish();
        result
    }

    #[inline(always)]
    fn iterate_in(
        &mut self,
        iteration: &Iteration,
        mut timeout: Option<Duration>,
    ) -> io::Result<()> {
        if self.has_errands() {
            match self.run_errands(iteration)? {
                Ok(true) => timeout = Some(Duration::ZERO),
                Ok(false) => {}
                Err(Replaced(())) => return Ok(()),
            }
        }
        let timeout = self.time_to_wait(timeout); // 1
        self.wait(timeout)?; // 2
        self.remotes.receive_into(&mut self.calls, self.timers.clock());
        self.calls.begin_iteration();
        // A replaced loop continues in its own next iteration.
        if let Ok(()) = self.run_steps(iteration) {
            self.stats.turns += 1;
        }
        Ok(())
    }

    #[inline(always)]
    fn run_steps(&mut self, iteration: &Iteration) -> Result<(), Replaced> {
        self.deliver_events(iteration)?; // 3
        self.deliver_signals(iteration)?; // 4
        #[cfg(windows)]
        self.notice_ends();
        self.reap_children(iteration)?;
        self.fire_timers(iteration)?; // 5, which reads the clock
        self.run_calls(iteration)?; // 6
        #[cfg(feature = "async")]
        self.poll_tasks(iteration)?; // 7
        self.run_local_calls(iteration).map(drop) // 8
    }

    /// Whether something must happen before the wait.
    #[inline]
    pub(super) fn has_errands(&self) -> bool {
        #[cfg(feature = "async")]
        if self.tasks.has_errands() {
            return true;
        }
        self.local.has_calls() || self.progress.has_late()
    }

    /// Runs the work that was queued between two iterations. Returns whether user code ran that [`run`](Self::run)
    /// waited for.
    #[cold]
    #[inline(never)]
    fn run_errands(&mut self, iteration: &Iteration) -> io::Result<Result<bool, Replaced>> {
        #[cfg(feature = "async")]
        if let Err(replaced) = self.prepare_tasks(iteration)? {
            return Ok(Err(replaced));
        }
        let mut has_run = false;
        while let Some(late) = self.progress.next_late() {
            has_run = true;
            match late {
                Late::Answer(key, answer, failure) => {
                    let followed = self.follow_answer(iteration, key, answer, failure, None);
                    if let Err(replaced) = followed {
                        return Ok(Err(replaced));
                    }
                }
                Late::Error(key, error) => {
                    let report = |event_loop: &mut Self| event_loop.report(key, None, error);
                    let (nothing, place) = (Registrant::Nothing, Place::ErrorHook);
                    if let Err(replaced) = self.call_user(iteration, nothing, place, report) {
                        return Ok(Err(replaced));
                    }
                }
                Late::Ended(registrant) => self.end(registrant),
            }
        }
        Ok(self.run_local_calls(iteration).map(|ran| ran || has_run))
    }

    #[inline]
    fn time_to_wait(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        if self.has_work_due() {
            return Some(Duration::ZERO);
        }
        match (self.timers.time_left(), timeout) {
            (Some(left), Some(timeout)) => Some(left.min(timeout)),
            (left, timeout) => left.or(timeout),
        }
    }

    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.delivered < self.events.len() {
            log::trace!(
                "{} events are left of the last iteration",
                self.events.len() - self.delivered
            );
            return Ok(());
        }
        log::trace!("waiting for {timeout:?}");
        self.delivered = 0;
        let result = self.sources.selector.select(&mut self.events, timeout);
        #[cfg(feature = "testing")]
        let result = Stuck::check(result, || self.dump());
        let count = result?;
        self.stats.events += count as u64;
        Ok(())
    }

    #[inline(always)]
    fn deliver_events(&mut self, iteration: &Iteration) -> Result<(), Replaced> {
        if iteration.is_observed {
            return self.deliver_observed_events(iteration);
        }
        while let Some((handler, event)) = self.next_event() {
            let registrant = || Registrant::Source(event.key);
            let call = |event_loop: &mut Self| handler.0.call(event_loop, &event);
            let answer = self.call_guarded(iteration, registrant, call);
            if !matches!(answer, Answer::Keep) || !iteration.is_of(self) {
                self.follow(iteration, event.key, answer)?;
            }
        }
        Ok(())
    }

    /// The same steps, with each call measured or traced.
    #[cold]
    #[inline(never)]
    fn deliver_observed_events(&mut self, iteration: &Iteration) -> Result<(), Replaced> {
        log::trace!("{} events to deliver", self.events.len() - self.delivered);
        while let Some((handler, event)) = self.next_event() {
            let (registrant, place) =
                (Registrant::Source(event.key), Place::Source(handler.0.location()));
            iteration.log(|| log::trace!("{event:?} for {place}"));
            let call = |event_loop: &mut Self| handler.0.call(event_loop, &event);
            let answer = self.call_observed(iteration, registrant, place, call);
            self.follow(iteration, event.key, answer)?;
        }
        Ok(())
    }

    /// Takes the next event whose registration still exists and includes it.
    #[inline(always)]
    fn next_event(&mut self) -> Option<(Handler<T>, Event)> {
        while let Some(mut event) = self.events.get(self.delivered) {
            self.delivered += 1;
            // An earlier callback may have ended the registration, or changed its interest.
            let Some(registration) = self.sources.selector.get(event.key) else { continue };
            let wanted = Ready::from(registration.interest());
            if !wanted.contains(event.ready) {
                match narrowed(event.ready, wanted) {
                    Some(ready) => event.ready = ready,
                    None => continue,
                }
            }
            return Some((registration.source().clone(), event));
        }
        None
    }
}

/// Narrows an event to an interest that another callback has changed since; `None` if nothing remains.
///
/// The event is not lost: a modified registration is reported again.
#[inline(never)]
fn narrowed(ready: Ready, wanted: Ready) -> Option<Ready> {
    const ASKED_FOR: Ready = Ready::READABLE.union(Ready::PRIORITY).union(Ready::WRITABLE);

    let left = ready - (ASKED_FOR - wanted);
    // The other flags are detail, which comes with any interest, and with none of its own.
    let is_detail_alone = !ready.intersects(ASKED_FOR);
    let is_wanted = left.intersects(ASKED_FOR) || is_detail_alone && !wanted.is_empty();
    // An invalid descriptor is reported once.
    (is_wanted || ready.contains(Ready::INVALID)).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interest::Interest;

    #[test]
    fn an_event_is_narrowed_to_the_present_interest() {
        let (r, w, p) = (Interest::READABLE, Interest::WRITABLE, Interest::PRIORITY);
        let (readable, writable) = (Ready::READABLE, Ready::WRITABLE);
        let hung_up = Ready::READ_CLOSED | Ready::WRITE_CLOSED;
        let cases = [
            (readable, r, Some(readable)),
            (readable, r | w, Some(readable)),
            (readable, w | p, None),
            (readable | writable, w, Some(writable)),
            (readable | hung_up, Interest::empty(), None),
            (readable | hung_up, w, None),
            (readable | writable | hung_up, w, Some(writable | hung_up)),
            (hung_up, p, Some(hung_up)),
            (hung_up, Interest::empty(), None),
            (Ready::INVALID, Interest::empty(), Some(Ready::INVALID)),
            (Ready::INVALID | readable, w, Some(Ready::INVALID)),
        ];
        for (ready, interest, left) in cases {
            assert_eq!(narrowed(ready, Ready::from(interest)), left, "{ready:?} for {interest:?}");
        }
    }
}
