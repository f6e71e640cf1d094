//! The ring itself: opening, entering, leaving.
//!
//! A ring belongs to the thread that armed it: another one may not enter it, and when the thread ends
//! all polls are cancelled. The kernel's error for an enter from elsewhere cannot be relied on, so the
//! thread is compared before each.

#![allow(unsafe_code)] // Pushing an entry is unsafe in io-uring.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fmt, io};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::Errno;

use super::super::poll_set::to_timespec;
use crate::fork::HomeProcess;
use crate::raw_event::bits;

/// How many entries the queues have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// So many changes fit into one enter.
    pub(super) submissions: u32,
    /// So many completions may wait; those that do not fit end their polls, which are armed anew then.
    /// The table in which the kernel looks up what to cancel has its size from this as well.
    pub(super) completions: u32,
}

impl Sizes {
    pub(super) const LARGE: Self = Self { submissions: 512, completions: 16_384 };
}

pub(super) struct Ring {
    ring: IoUring,
    /// Dropped after the ring, see [`Sentinel`].
    sentinel: Sentinel,
    sizes: Sizes,
    thread: u64,
    home: HomeProcess,
    /// Whether completions were put aside for want of room in the last enter, or before it.
    overflowed: bool,
    /// Whether anything has ever been handed over.
    entered: bool,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl Ring {
    pub(super) fn open(sizes: Sizes) -> io::Result<Self> {
        let ring = match build(sizes, true) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => build(sizes, false),
            result => result,
        }
        .map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => refused(&format!("the kernel forbids it: {error}")),
            Some(libc::ENOSYS | libc::EINVAL) => refused(&format!("the kernel lacks it: {error}")),
            _ => error,
        })?;
        let params = ring.params();
        // The last of these came with 5.13, as multishot polls did.
        if !(params.is_feature_ext_arg()
            && params.is_feature_nodrop()
            && params.is_feature_resource_tagging())
        {
            return Err(refused("the kernel is older than 5.13"));
        }
        let (sentinel, guard) = Sentinel::new()?;
        let mut ring = Self {
            ring,
            sentinel,
            sizes,
            thread: this_thread(),
            home: HomeProcess::here(),
            overflowed: false,
            entered: false,
        };
        ring.push(&guard)?;
        Ok(ring)
    }

    /// Another one like this, for this thread.
    pub(super) fn open_another(&self) -> io::Result<Self> {
        Self::open(self.sizes)
    }

    pub(super) fn is_of_this_thread(&self) -> bool {
        self.thread == this_thread()
    }

    /// Puts an entry into the submission queue; if that is full, its content goes over first.
    pub(super) fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: entries are polls and cancellations, which point to no memory.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            match self.ring.submit() {
                Err(error) if !is_busy(&error) => return Err(error),
                _ => {}
            }
        }
    }

    /// Cancels what was pushed under `target`. Where the kernel can, only a cancellation that finds
    /// nothing has a completion.
    pub(super) fn cancel(&mut self, target: u64, user_data: u64) -> io::Result<()> {
        let mut entry = opcode::AsyncCancel::new(target).build().user_data(user_data);
        if self.ring.params().is_feature_skip_cqe_on_success() {
            entry = entry.flags(squeue::Flags::SKIP_SUCCESS);
        }
        self.push(&entry)
    }

    /// Whether entering would do anything without waiting.
    pub(super) fn has_work(&mut self) -> bool {
        let submission = self.ring.submission();
        !submission.is_empty() || submission.taskrun() || submission.cq_overflow()
    }

    /// Whether no completion waits to be taken.
    pub(super) fn is_empty(&mut self) -> bool {
        self.ring.completion().is_empty()
    }

    pub(super) fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Hands over what was pushed, and waits for so many completions.
    pub(super) fn enter(&mut self, want: usize, timeout: Option<Duration>) -> io::Result<()> {
        debug_assert!(self.is_of_this_thread());
        self.entered = true;
        let overflow_before = self.ring.submission().cq_overflow();
        let submitter = self.ring.submitter();
        let result = match timeout {
            None => submitter.submit_and_wait(want),
            Some(timeout) => {
                let timespec = types::Timespec::from(timeout);
                submitter.submit_with_args(want, &types::SubmitArgs::new().timespec(&timespec))
            }
        };
        self.overflowed = overflow_before || self.ring.submission().cq_overflow();
        match result {
            Err(error) if error.raw_os_error() == Some(libc::ETIME) || is_busy(&error) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    /// Lets the kernel hand out everything that it has.
    pub(super) fn enter_for_all(&mut self) -> io::Result<()> {
        self.enter(self.ring.params().cq_entries() as usize, Some(Duration::ZERO))
    }

    pub(super) fn for_each_completion(&mut self, take: impl FnMut(cqueue::Entry)) {
        self.ring.completion().for_each(take);
    }

    /// Makes an eventfd readable with each completion.
    pub(super) fn signal_with(&self, signal: &OwnedFd) -> io::Result<()> {
        self.ring.submitter().register_eventfd(signal.as_raw_fd())
    }

    /// Gives up a ring of another thread.
    pub(super) fn leave(mut self) -> Departed {
        Departed(self.sentinel.reader.take())
    }

    /// Cancels everything, and waits until that is done.
    fn cancel_all(&mut self) -> io::Result<()> {
        self.sentinel.writer = None;
        let everything = types::CancelBuilder::any().all();
        self.push(&opcode::AsyncCancel2::new(everything).build())?;
        let mut refused = false;
        for _ in 0..1000 {
            self.enter(1, Some(Duration::ZERO))?;
            self.for_each_completion(|completion| {
                // Kernels before 5.19 cannot do it.
                refused |= completion.result() == -libc::EINVAL;
            });
            if refused || self.sentinel.is_released() {
                break;
            }
        }
        Ok(())
    }
}

/// By itself, closing a ring lets the files go only some milliseconds later.
impl Drop for Ring {
    fn drop(&mut self) {
        if !self.home.is_here() {
            // The parent's: closing is all that may be done, and it releases nothing.
            self.sentinel.reader = None;
        } else if self.entered
            && self.is_of_this_thread()
            && let Err(error) = self.cancel_all()
        {
            log::debug!("io_uring: cancelling: {error}");
        }
    }
}

/// Tells when a ring has let its files go.
///
/// The ring polls the writing end of a pipe, which keeps that open. When nobody else does, the reading
/// end hangs up as soon as the ring has cancelled its polls, which it does all together.
struct Sentinel {
    writer: Option<OwnedFd>,
    reader: Option<OwnedFd>,
}

impl Sentinel {
    /// With the entry that makes the ring keep it.
    fn new() -> io::Result<(Self, squeue::Entry)> {
        let (reader, writer) = io::pipe()?;
        let writer = OwnedFd::from(writer);
        let number = types::Fd(writer.as_raw_fd());
        let guard = opcode::PollAdd::new(number, bits::ERR).multi(true).build();
        Ok((Self { writer: Some(writer), reader: Some(reader.into()) }, guard))
    }

    fn is_released(&self) -> bool {
        self.reader.as_ref().is_none_or(|reader| hangs_up_within(reader, Duration::ZERO))
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.writer = None;
        Departed(self.reader.take()).join();
    }
}

/// A ring of another thread that was left, and may still hold files.
#[derive(Debug)]
pub(super) struct Departed(Option<OwnedFd>);

impl Departed {
    /// Waits until it holds none: some milliseconds, most of the time.
    pub(super) fn join(self) {
        // A process that was forked from this one may hold the ring as long as it likes.
        const LONGEST: Duration = Duration::from_secs(1);

        if let Some(reader) = self.0
            && !hangs_up_within(&reader, LONGEST)
        {
            log::warn!("io_uring: a ring that was left still holds its files");
        }
    }
}

fn hangs_up_within(reader: &OwnedFd, timeout: Duration) -> bool {
    let mut entry = [PollFd::new(reader, PollFlags::empty())];
    loop {
        match poll(&mut entry, Some(&to_timespec(timeout))) {
            Err(Errno::INTR) => {}
            found => return found.is_ok_and(|found| found > 0),
        }
    }
}

/// A number for this thread that no other one ever has.
fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static THIS: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    THIS.with(|this| *this)
}

fn build(sizes: Sizes, deferred: bool) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(sizes.completions).setup_clamp();
    if deferred {
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
        builder.setup_submit_all();
    }
    builder.build(sizes.submissions)
}

fn refused(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, reason.to_owned())
}

fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBUSY)
}
