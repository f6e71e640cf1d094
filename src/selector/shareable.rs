//! What [`SharedSelector`](crate::SharedSelector) needs of a selector.

use std::time::Duration;
use std::{fmt, io, mem};

use super::Selector;
use super::timeout::End;
#[cfg(epoll)]
use crate::backend::epoll;
use crate::backend::{AnyPoller, Backend, Poller, wait};
use crate::descriptor::Descriptor;
use crate::error::RegisterError;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::{Key, Token};
use crate::registration::{Registration, RegistrationMut};
use crate::shared::protocol::{Needs, Shareable};

/// A selector, with the additional state for waits beside other threads.
pub(crate) struct SharedState<S, D> {
    selector: Selector<S, D>,
    /// One-shots that were re-armed during the present wait.
    rearmed: Vec<Key>,
    messages: Vec<(log::Level, String)>,
}

/// Takes the backend's place while the waiting thread has it.
#[derive(Debug)]
struct Absent;

impl Poller for Absent {
    fn update(&mut self, _: Descriptor, _: Token, _: Interest, _: Watch) -> io::Result<()> {
        unreachable!("a change while the waiting thread has the backend")
    }

    fn wait(&mut self, _: &mut Events, _: Option<Duration>) -> io::Result<()> {
        unreachable!("a wait while another thread has the backend")
    }
}

impl<S, D> SharedState<S, D> {
    pub(crate) fn new(selector: Selector<S, D>) -> Self {
        Self { selector, rearmed: Vec::new(), messages: Vec::new() }
    }

    pub(crate) fn selector(&self) -> &Selector<S, D> {
        &self.selector
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<RegistrationMut<'_, S, D>> {
        self.selector.get_mut(key)
    }

    #[inline(always)]
    pub(crate) fn insert(
        &mut self,
        descriptor: Descriptor,
        watch: Watch,
        source: S,
        data: D,
    ) -> Result<Key, RegisterError<S, D>> {
        self.selector.insert(descriptor, watch, source, data)
    }

    /// Returns the arguments for the removal of a registration.
    #[inline(always)]
    pub(crate) fn removal_needs(&self, key: Key) -> Needs {
        match self.selector.get(key) {
            Some(registration) if !registration.applied.interest().is_empty() => Needs::Backend,
            _ => Needs::Nothing,
        }
    }

    /// Removes a registration; the second result is the kernel's.
    #[inline(always)]
    pub(crate) fn take_out(&mut self, key: Key) -> Option<(Registration<S, D>, io::Result<()>)> {
        self.selector.get(key)?;
        Some(self.selector.take_out(key.slot()))
    }

    pub(crate) fn note_change(
        &mut self,
        key: Key,
        next: impl FnOnce(Watch) -> Watch,
    ) -> io::Result<Option<Watch>> {
        self.selector.note_change(key, next)
    }

    pub(crate) fn move_to(&mut self, backend: Backend) -> io::Result<()> {
        self.selector.move_to(backend)
    }

    #[inline(always)]
    fn has_ready_files(&self) -> bool {
        match &self.selector.poller {
            #[cfg(epoll)]
            AnyPoller::Epoll(epoll) => epoll.has_ready_files(),
            AnyPoller::Other(_) => false,
        }
    }
}

impl<S, D> Shareable for SharedState<S, D> {
    type Events = Events;
    type Backend = Box<dyn Poller>;
    type Messages = Vec<(log::Level, String)>;

    #[inline(always)]
    fn is_plain(&self) -> bool {
        #[cfg(epoll)]
        if let AnyPoller::Epoll(epoll) = &self.selector.poller {
            return self.selector.is_plain() && !epoll.has_ready_files();
        }
        false
    }

    fn is_due(&self) -> bool {
        let Selector { changes, rejected, .. } = &self.selector;
        !changes.is_empty() || !rejected.is_empty() || self.has_ready_files()
    }

    fn begin_wait(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        self.selector.apply_changes();
        if self.is_due() { Some(Duration::ZERO) } else { timeout }
    }

    fn end_wait(
        &mut self,
        result: io::Result<()>,
        events: &mut Events,
        is_woken: bool,
    ) -> io::Result<End> {
        let Self { selector, rearmed, messages } = self;
        #[cfg(epoll)]
        if let AnyPoller::Epoll(epoll) = &mut selector.poller {
            epoll.report_ready_files(events);
        }
        let log = |level, message: fmt::Arguments<'_>| messages.push((level, message.to_string()));
        let end = selector.end_wait(result, events, is_woken, log);
        // Their events may be of the arming before. It is better to re-arm twice than to forget an arming.
        for key in rearmed.drain(..) {
            if let Some(registration) = selector.registrations.get_mut(key.slot())
                && registration.generation == key.generation()
            {
                registration.has_fired = false;
            }
        }
        end
    }

    fn apply_changes(&mut self) {
        let Self { selector, rearmed, .. } = self;
        for &slot in &selector.changes {
            let slot = slot as usize;
            if let Some(registration) = selector.registrations.get(slot)
                && registration.is_changed
                && registration.watch.is_oneshot()
            {
                rearmed.push(registration.key(slot));
            }
        }
        selector.apply_changes();
    }

    fn drop_outdated(&self, events: &mut Events) {
        events.retain(|token| {
            let registration = self.selector.get(token.key());
            registration.is_some_and(|registration| registration.interest() == token.interest())
        });
    }

    fn take_messages(&mut self) -> Self::Messages {
        mem::take(&mut self.messages)
    }

    fn log(messages: Self::Messages) {
        for (level, message) in messages {
            log::log!(level, "{message}");
        }
    }

    fn lend(&mut self) -> Option<Box<dyn Poller>> {
        match &mut self.selector.poller {
            #[cfg(epoll)]
            AnyPoller::Epoll(_) => None,
            AnyPoller::Other(poller) => Some(mem::replace(poller, Box::new(Absent))),
        }
    }

    fn take_back(&mut self, backend: Box<dyn Poller>) {
        self.selector.poller = AnyPoller::Other(backend);
    }

    fn wait(
        backend: &mut Box<dyn Poller>,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        wait(&mut **backend, events, timeout)
    }

    #[cfg(epoll)]
    fn kernel_object(&self) -> i32 {
        match &self.selector.poller {
            AnyPoller::Epoll(epoll) => epoll.kernel_object().number(),
            AnyPoller::Other(_) => -1,
        }
    }

    #[cfg(epoll)]
    fn wait_on(
        kernel_object: i32,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        epoll::wait_for(Descriptor::from_number(kernel_object).borrow(), events, timeout)
    }

    #[inline(always)]
    #[cfg(epoll)]
    fn wait_plainly(kernel_object: i32, events: &mut Events) -> io::Result<bool> {
        epoll::collect(Descriptor::from_number(kernel_object).borrow(), events, None)?;
        Ok(!events.is_empty() && !events.has_waker())
    }

    #[cfg(not(epoll))]
    fn kernel_object(&self) -> i32 {
        -1
    }

    #[cfg(not(epoll))]
    fn wait_on(_: i32, _: &mut Events, _: Option<Duration>) -> io::Result<()> {
        unreachable!("the waiting thread takes the backend along")
    }

    #[cfg(not(epoll))]
    fn wait_plainly(_: i32, _: &mut Events) -> io::Result<bool> {
        unreachable!("the waiting thread takes the backend along")
    }

    fn remove_waker(events: &mut Events) -> bool {
        events.remove_waker()
    }
}
