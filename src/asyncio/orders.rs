//! The loop's side of a source: orders to register it, and their outcome.

use std::io;

use super::readiness::Readiness;
use super::requests::Order;
use super::short_read::ShortRead;
use super::state::{Phase, State};
use crate::backend::Backend;
use crate::interest::{Interest, Watch};
use crate::key::Key;

impl State {
    pub(super) fn take_order(&self, backend: Backend) -> Order {
        self.is_listed.set(false);
        let wanted = self.reading.wanted() | self.writing.wanted();
        let watch = self.watch.get();
        let is_released = self.phase.get() == Phase::Released;
        match self.key.get() {
            Some(key) if is_released => Order::Unregister(key),
            Some(key) => {
                // With edges, an interest costs nothing while no event happens.
                let kept = if watch.is_edge() { watch.interest() } else { Interest::empty() };
                let wanted = wanted | kept;
                if wanted == watch.interest() { Order::Nothing } else { Order::Modify(key, wanted) }
            }
            None if is_released => {
                // `into_inner` waits for this.
                self.reading.waiters.wake();
                Order::Nothing
            }
            None if wanted.is_empty() => Order::Nothing,
            None => Order::Register(self.first_watch(wanted, backend)),
        }
    }

    fn first_watch(&self, wanted: Interest, backend: Backend) -> Watch {
        let capabilities = backend.capabilities();
        let may_be_tcp =
            matches!(self.short_read.get(), ShortRead::Unknown | ShortRead::ProvesOnTcp);
        // On TCP, io_uring's edges report an urgent byte with all data, so a short read would prove nothing.
        if !capabilities.edge || may_be_tcp && backend == Backend::IoUring {
            return wanted.into();
        }
        let has_priority = may_be_tcp && capabilities.priority;
        let priority = if has_priority { Interest::PRIORITY } else { Interest::empty() };
        (wanted | priority).edge()
    }

    pub(super) fn registered(&self, key: Key, watch: Watch) {
        self.key.set(Some(key));
        self.watch.set(watch);
    }

    pub(super) fn modified(&self, interest: Interest) {
        self.watch.set(self.watch.get().with_interest(interest));
    }

    /// Whether there was a registration.
    fn forget_registration(&self) -> bool {
        self.watch.set(Interest::empty().into());
        self.key.take().is_some()
    }

    pub(super) fn unregistered(&self) {
        if self.forget_registration() {
            // Tasks of another loop continue there.
            self.reading.wake(Readiness::Signalled);
            self.writing.wake(Readiness::Signalled);
        }
    }

    pub(super) fn suspend(&self) -> bool {
        self.forget_registration();
        for direction in [&self.reading, &self.writing] {
            // The states came from edges of the old backend, which the new one does not repeat.
            direction.readiness.set(Readiness::Signalled);
        }
        !self.is_listed.replace(true)
    }

    pub(super) fn fail(&self, error: io::Error) {
        self.failure.set(Some(error));
        self.modified(Interest::empty());
        self.reading.wake(Readiness::Signalled);
        self.writing.wake(Readiness::Signalled);
    }
}
