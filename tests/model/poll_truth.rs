//! The result of `poll`, as readiness.

use std::os::fd::{AsFd, BorrowedFd};

use polyselect::{Interest, Ready};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

use super::subject::Subject;
use super::truth::{HangUp, Truth};

/// Returns the readiness of each subject now.
pub fn truths(subjects: &[(&Subject, Interest)], hang_up: HangUp) -> Vec<Truth> {
    let asked = subjects.iter().map(|&(subject, interest)| (subject.source().as_fd(), interest));
    truths_of(&asked.collect::<Vec<_>>(), hang_up)
}

/// Returns the readiness of each descriptor now, by one call of `poll`.
pub fn truths_of(descriptors: &[(BorrowedFd<'_>, Interest)], hang_up: HangUp) -> Vec<Truth> {
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
