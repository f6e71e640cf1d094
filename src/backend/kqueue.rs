//! kqueue: macOS, iOS and the BSDs.
//!
//! The kernel keeps a filter for each direction of a descriptor and hands out those that fired, so
//! that a wait costs what is active. Where it surprises:
//!
//! - Both directions of one descriptor are two answers; they are joined into one event.
//! - A change that fails ends the processing of those after it, unless each asks for a receipt.
//! - Some kinds of file are refused: on macOS terminals and other devices, on some systems directories.
//!   They are given to `poll`, which then waits for kqueue's own descriptor beside them.
//! - One-shot of the kernel's is one direction's, so that it is ours.
//! - A kqueue is not inherited by `fork`. Its number is free in the child, and closing it there could
//!   close a stranger's descriptor.

#![allow(unsafe_code)] // `kevent` is unsafe in rustix.

mod filters;

use std::ffi::c_void;
use std::io;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::kqueue::{Event, EventFilter, EventFlags, kevent_timespec, kqueue};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::poll_set::{PollSet, to_timespec};
use super::{AnyPoller, Poller};
use crate::descriptor::Descriptor;
use crate::error;
use crate::event::Events;
use crate::fork::HomeProcess;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use filters::{Action, Answer, Change, Filter, Filters, Verdict, verdict};

pub(super) fn open() -> io::Result<AnyPoller> {
    Ok(AnyPoller::other(Kqueue {
        queue: Queue::open()?,
        filters: Filters::default(),
        batch: Batch(Vec::new()),
        refused: PollSet::default(),
    }))
}

#[derive(Debug)]
struct Kqueue {
    queue: Queue,
    filters: Filters,
    batch: Batch,
    /// What kqueue does not watch.
    refused: PollSet,
}

impl Poller for Kqueue {
    fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        _old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        if self.refused.contains(descriptor) {
            if new.interest().is_empty() {
                self.refused.remove(descriptor);
            } else {
                self.refused.insert(descriptor, token, new);
            }
            return Ok(());
        }
        let was_watched = self.filters.contains(descriptor);
        let changes = self.filters.plan(descriptor, token, new);
        let receipts = self.queue.apply(&changes).inspect_err(|_| {
            if !was_watched {
                self.filters.forget(descriptor);
            }
        })?;
        match verdict(&changes, &receipts) {
            Verdict::Accepted => Ok(()),
            Verdict::WrongKind => {
                let nothing = new.with_interest(Interest::empty());
                let undo = self.filters.plan(descriptor, token, nothing);
                self.queue.apply(&undo)?;
                if new.is_edge() {
                    return Err(super::Backend::Kqueue
                        .unsupported("edge-triggered delivery for this kind of file", |_| false));
                }
                self.refused.insert(descriptor, token, new);
                Ok(())
            }
            Verdict::Refused(number) => {
                if !was_watched {
                    self.filters.forget(descriptor);
                }
                match number {
                    libc::EBADF => Err(error::not_open(descriptor)),
                    _ => Err(io::Error::from_raw_os_error(number)),
                }
            }
        }
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = if self.refused.is_empty() {
            timeout
        } else {
            let this = Descriptor::of(&self.queue.as_fd());
            let watch = Interest::READABLE.into();
            self.refused.insert(this, Token::INTERNAL, watch);
            let result = self.refused.wait(events, timeout, drop);
            self.refused.remove(this);
            result?;
            events.retain(|token| token != Token::INTERNAL);
            Some(Duration::ZERO)
        };
        let answers = self.queue.wait(&mut self.batch, events.room(), timeout)?;
        let silencing = self.filters.report(answers, events);
        if !silencing.is_empty() {
            self.queue.apply(&silencing)?;
        }
        Ok(())
    }

    fn descriptor(&mut self) -> io::Result<OwnedFd> {
        self.queue.as_fd().try_clone_to_owned()
    }
}

#[derive(Debug)]
struct Queue {
    descriptor: Option<OwnedFd>,
    home: HomeProcess,
}

impl Queue {
    fn open() -> io::Result<Self> {
        let descriptor = kqueue()?;
        rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)?;
        Ok(Self { descriptor: Some(descriptor), home: HomeProcess::here() })
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_ref().expect("taken by drop alone").as_fd()
    }

    /// Hands over changes, and returns a receipt for each.
    fn apply(&self, changes: &[Change]) -> io::Result<Vec<Answer>> {
        let changes: Vec<_> = changes.iter().copied().map(to_event).collect();
        let mut receipts = Vec::with_capacity(changes.len());
        if !changes.is_empty() {
            let now = to_timespec(Duration::ZERO);
            // SAFETY: each number is that of a source that the selector owns for as long as it is
            // watched, see `Descriptor::borrow`.
            unsafe {
                kevent_timespec(self.as_fd(), &changes, spare_capacity(&mut receipts), Some(&now))
            }?;
        }
        Ok(receipts.iter().filter_map(to_answer).collect())
    }

    fn wait<'a>(
        &self,
        batch: &'a mut Batch,
        most: usize,
        timeout: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = Answer> + use<'a>> {
        batch.0.clear();
        batch.0.reserve_exact(most);
        let timeout = timeout.map(to_timespec);
        // SAFETY: no change is handed over, so that no number is.
        unsafe {
            kevent_timespec(self.as_fd(), &[], spare_capacity(&mut batch.0), timeout.as_ref())
        }?;
        batch.0.truncate(most);
        Ok(batch.0.iter().filter_map(to_answer))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if !self.home.is_here() {
            // The number is not ours in a forked child.
            std::mem::forget(self.descriptor.take());
        }
    }
}

/// The buffer of a wait.
struct Batch(Vec<Event>);

// SAFETY: what makes an event neither `Send` nor `Sync` is the pointer that it brings back; all that
// is ever stored there is the integer of a name.
unsafe impl Send for Batch {}
// SAFETY: as above.
unsafe impl Sync for Batch {}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("capacity", &self.0.capacity()).finish()
    }
}

fn to_event(change: Change) -> Event {
    let number = change.descriptor.number();
    let filter = match change.filter {
        Filter::Read => EventFilter::Read(number),
        Filter::Write => EventFilter::Write(number),
    };
    let flags = match change.action {
        Action::Add { edge: false } => EventFlags::ADD,
        Action::Add { edge: true } => EventFlags::ADD | EventFlags::CLEAR,
        Action::Delete => EventFlags::DELETE,
    };
    let name: *mut c_void = std::ptr::without_provenance_mut(change.name);
    Event::new(filter, flags | EventFlags::RECEIPT, name)
}

fn to_answer(event: &Event) -> Option<Answer> {
    let filter = match event.filter() {
        EventFilter::Read(_) => Filter::Read,
        EventFilter::Write(_) => Filter::Write,
        _ => return None,
    };
    let flags = event.flags();
    let failed = flags.contains(EventFlags::ERROR);
    Some(Answer {
        filter,
        name: event.udata().addr(),
        eof: flags.contains(EventFlags::EOF),
        error: failed.then(|| i32::try_from(event.data()).unwrap_or(i32::MAX)),
    })
}
