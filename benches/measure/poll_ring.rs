//! io_uring as a C program would use it for readiness: polls that are armed and completed.

#![allow(unsafe_code)] // Submitting is unsafe, since entries can refer to memory; a poll does not.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use io_uring::squeue::Entry;
use io_uring::{IoUring, cqueue, opcode, types};
use rustix::event::PollFlags;

/// A ring whose only operation is the poll. The next wait submits the armed polls.
pub struct PollRing(IoUring);

/// A completed poll.
#[derive(Clone, Copy, Debug)]
pub struct Completed {
    /// The `data` argument with which the poll was armed.
    pub data: u64,
    /// Whether it stays armed, as a multishot poll does.
    pub stays: bool,
}

impl PollRing {
    /// Opens a ring with room for `completions` completions at a time.
    pub fn new(completions: u32) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(completions.next_power_of_two().max(2048))
            .build(1024)?;
        Ok(Self(ring))
    }

    /// Polls once. A ready source completes immediately, so the poll is level-triggered if it is re-armed after each
    /// event.
    pub fn arm(&mut self, source: impl AsFd, flags: PollFlags, data: u64) -> io::Result<()> {
        let poll = opcode::PollAdd::new(types::Fd(source.as_fd().as_raw_fd()), bits(flags));
        self.push(&poll.build().user_data(data))
    }

    /// Polls repeatedly, edge-triggered.
    pub fn arm_multi(&mut self, source: impl AsFd, flags: PollFlags, data: u64) -> io::Result<()> {
        let poll = opcode::PollAdd::new(types::Fd(source.as_fd().as_raw_fd()), bits(flags));
        self.push(&poll.multi(true).build().user_data(data))
    }

    fn push(&mut self, entry: &Entry) -> io::Result<()> {
        // SAFETY: a poll refers to a descriptor by number and to no memory.
        while unsafe { self.0.submission().push(entry) }.is_err() {
            self.0.submit()?;
        }
        Ok(())
    }

    /// Submits the armed polls, waits for at least one completion, and adds all available ones.
    pub fn wait(&mut self, completed: &mut Vec<Completed>) -> io::Result<()> {
        while let Err(error) = self.0.submit_and_wait(1) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        for entry in self.0.completion() {
            if entry.result() < 0 {
                return Err(io::Error::from_raw_os_error(-entry.result()));
            }
            let stays = cqueue::more(entry.flags());
            completed.push(Completed { data: entry.user_data(), stays });
        }
        Ok(())
    }
}

impl std::fmt::Debug for PollRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PollRing")
    }
}

fn bits(flags: PollFlags) -> u32 {
    u32::from(flags.bits())
}
