//! The result of `poll`, as readiness.

use std::os::fd::BorrowedFd;

use polyselect::{Backend, Interest, Ready};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

/// The flags that every backend reports alike.
pub const GUARANTEED: Ready = Ready::READABLE.union(Ready::WRITABLE).union(Ready::PRIORITY);

/// Returns the guaranteed flags of an interest.
pub fn asked(interest: Interest) -> Ready {
    let mut asked = Ready::empty();
    asked.set(Ready::READABLE, interest.contains(Interest::READABLE));
    asked.set(Ready::WRITABLE, interest.contains(Interest::WRITABLE));
    asked.set(Ready::PRIORITY, interest.contains(Interest::PRIORITY));
    asked
}

/// The flags that an event may report at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Truth {
    /// All of the guaranteed flags here must be set.
    pub least: Ready,
    /// No other flag may be set.
    pub most: Ready,
}

/// The effect of a hang-up alone on `WRITABLE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUp {
    Writable,
    /// Writable, and `select` sees it only if it watches for reading too.
    WritableIfSeen,
}

impl HangUp {
    pub fn on(backend: Backend) -> Self {
        if backend == Backend::Select { Self::WritableIfSeen } else { Self::Writable }
    }

    /// Whether it must be reported as `WRITABLE`; otherwise it may be.
    pub fn must_be_writable(self, interest: Interest) -> bool {
        self == Self::Writable || interest.contains(Interest::READABLE)
    }
}

/// Returns the readiness of each descriptor now, by one call of `poll`.
pub fn truths(descriptors: &[(BorrowedFd<'_>, Interest)], hang_up: HangUp) -> Vec<Truth> {
    let mut entries: Vec<_> = descriptors
        .iter()
        .map(|&(descriptor, interest)| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN | PollFlags::RDHUP, interest.contains(Interest::READABLE));
            flags.set(PollFlags::OUT, interest.contains(Interest::WRITABLE));
            flags.set(PollFlags::PRI, interest.contains(Interest::PRIORITY));
            PollFd::from_borrowed_fd(descriptor, flags)
        })
        .collect();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // A signal interrupts a call with a zero timeout, too.
    retry_on_intr(|| poll(&mut entries, Some(&now))).unwrap();
    let found = entries.iter().map(PollFd::revents);
    found.zip(descriptors).map(|(found, &(_, interest))| truth(found, interest, hang_up)).collect()
}

fn truth(found: PollFlags, interest: Interest, hang_up: HangUp) -> Truth {
    if interest.is_empty() {
        return Truth::default();
    }
    let has = |flags| found.intersects(flags);
    let end = PollFlags::HUP | PollFlags::ERR | PollFlags::RDHUP;
    let asks = |flag| interest.contains(flag);
    let mut least = Ready::empty();
    least.set(Ready::READABLE, asks(Interest::READABLE) && has(PollFlags::IN | end));
    least.set(Ready::WRITABLE, asks(Interest::WRITABLE) && has(PollFlags::OUT | PollFlags::ERR));
    least.set(Ready::PRIORITY, asks(Interest::PRIORITY) && has(PollFlags::PRI));
    let mut most = least;
    if asks(Interest::WRITABLE) && has(PollFlags::HUP) {
        most |= Ready::WRITABLE;
        if hang_up.must_be_writable(interest) {
            least |= Ready::WRITABLE;
        }
    }
    let half = asks(Interest::READABLE) && has(PollFlags::RDHUP);
    most.set(Ready::ERROR, has(PollFlags::ERR));
    most.set(Ready::READ_CLOSED, has(PollFlags::HUP) || half);
    most.set(Ready::WRITE_CLOSED, has(PollFlags::HUP));
    Truth { least, most }
}
