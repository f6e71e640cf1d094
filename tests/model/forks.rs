//! Children of `fork`: using the child's copy of the selector does not affect the parent.

use std::sync::Arc;
use std::time::Duration;

use polyselect::{Backend, Events, Interest, Key, Selector};

use super::child::{Child, close_in_child, fork};
use super::faults::kevent;
use super::program::{Outcome, PLACES, Run};
use super::subject::{Kind, Subject};
use super::wait::PATIENCE;

#[derive(Clone, Debug)]
pub enum ChildStep {
    /// Uses the waker, which is the parent's until the child has rebuilt.
    Wake,
    /// Every operation that needs the kernel fails until the child has rebuilt.
    UseAll,
    Rebuild,
    RebuildWith(usize),
    Select(usize),
    Modify(usize, Interest),
    Unregister(usize),
    /// Drops the selector, and ends.
    Drop,
}

impl Run<'_> {
    pub fn fork(&mut self, steps: &[ChildStep]) -> Outcome {
        self.reap()?;
        let child = fork(false, || self.run_child(steps)).map_err(|error| error.to_string())?;
        child.join()?;
        self.select(64)
    }

    /// Forks a child that lives on with the selector's descriptors, and none of the subjects'.
    pub fn fork_and_live(&mut self) -> Outcome {
        self.reap()?;
        let child = fork(true, || {
            let subjects = self.subjects.iter().chain(&self.strangers);
            subjects.flat_map(Subject::numbers).for_each(close_in_child);
            Ok(())
        });
        self.living_child = Some(child.map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Ends the child that lives on.
    pub fn reap(&mut self) -> Outcome {
        self.living_child.take().map_or(Ok(()), Child::join)
    }

    pub fn has_ring(&self) -> bool {
        self.selector.backend() == Backend::IoUring
    }

    /// How long the kernel may hold a file. It closes a ring that another thread has left, or in
    /// which a call has failed, on a thread of its own, and not before a child with a copy has
    /// ended.
    pub fn time_to_release(&mut self) -> Result<Duration, String> {
        if !self.has_left_ring {
            return Ok(Duration::ZERO);
        }
        self.reap()?;
        Ok(PATIENCE)
    }

    fn run_child(&mut self, steps: &[ChildStep]) -> Outcome {
        // The supervisor and the watchdog are threads of the parent's.
        (self.setting.injector, self.setting.watchdog) = (None, None);
        kevent::disarm();
        self.setting.fails_kevent = false;
        let nested = self.nested.take();
        if self.selector.backend() == Backend::Kqueue {
            // The child does not have its descriptor.
            std::mem::forget(nested);
        }
        let mut is_rebuilt = false;
        for (index, step) in steps.iter().enumerate() {
            let outcome = self.child_step(step, &mut is_rebuilt);
            outcome.map_err(|wrong| format!("step {index}, {step:?}: {wrong}"))?;
            if matches!(step, ChildStep::Drop) {
                return Ok(());
            }
        }
        // A ring that its process does not close is closed by the kernel after the end of the process,
        // and holds the subjects' files until then.
        if is_rebuilt { self.drop_selector() } else { Ok(()) }
    }

    fn drop_selector(&mut self) -> Outcome {
        let other = Selector::with_backend(Backend::Poll).map_err(|error| error.to_string())?;
        drop(std::mem::replace(&mut self.selector, other));
        Ok(())
    }

    fn child_step(&mut self, step: &ChildStep, is_rebuilt: &mut bool) -> Outcome {
        match *step {
            ChildStep::Wake if *is_rebuilt => self.wake()?,
            // The result does not matter; the parent must not be woken.
            ChildStep::Wake if self.has_waker => {
                drop(self.selector.waker().and_then(|waker| waker.wake()));
            }
            ChildStep::UseAll if !*is_rebuilt => self.use_all()?,
            ChildStep::Rebuild => {
                self.rebuild(self.selector.backend())?;
                *is_rebuilt = true;
            }
            ChildStep::RebuildWith(index) => {
                let available: Vec<_> = Backend::available().collect();
                let backend = available[index % available.len()];
                self.rebuild(backend)?;
                // Some backends cannot take over an edge.
                *is_rebuilt |= self.selector.retain(|_, _| true).is_ok();
            }
            ChildStep::Select(capacity) if *is_rebuilt => self.select(capacity)?,
            ChildStep::Modify(place, interest) if *is_rebuilt => self.modify(place, interest)?,
            ChildStep::Unregister(place) if *is_rebuilt => self.unregister(place)?,
            ChildStep::Drop => self.drop_selector()?,
            _ => {}
        }
        Ok(())
    }

    /// Tries the operations that must fail in a child before it has rebuilt.
    fn use_all(&mut self) -> Outcome {
        let subject = Subject::new(Kind::Stream);
        let source = Arc::clone(subject.source());
        let (selector, mut events) = (&mut self.selector, Events::with_capacity(8));
        let mut allowed = Vec::new();
        let mut check = |name, is_ok| {
            if is_ok {
                allowed.push(name);
            }
        };
        check("select", selector.select(&mut events, Duration::ZERO).is_ok());
        check("register", selector.register(source, Interest::READABLE, PLACES).is_ok());
        let first: Option<Key> = selector.iter().next().map(|(key, _)| key);
        if let Some(key) = first {
            check("modify", selector.modify(key, Interest::WRITABLE).is_ok());
            check("unregister", selector.unregister(key).is_ok());
        }
        if allowed.is_empty() { Ok(()) } else { Err(format!("allowed in a child: {allowed:?}")) }
    }
}
