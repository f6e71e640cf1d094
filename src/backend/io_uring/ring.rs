//! A ring of multishot polls: opening, entering, and closing it so that it holds no file any more.
//!
//! A ring belongs to the thread that opened it: another thread may not enter it, and when the thread ends
//! all polls are cancelled. The kernel's error for an enter from another thread is not reliable, so the
//! thread is compared before each enter.

#![allow(unsafe_code)] // Pushing an entry is unsafe in io-uring.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, io, mem};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::Errno;

use super::super::poll_set::to_timespec;
use crate::descriptor::Descriptor;
use crate::fork::{self, HomeProcess};
use crate::raw_event::bits;

/// The number of entries of the queues.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// As many changes fit into one enter.
    pub(super) submissions: u32,
    /// As many completions fit; one that does not fit ends its poll, which is then armed again. The size
    /// of the kernel's table for cancellations follows from this, too.
    pub(super) completions: u32,
}

impl Sizes {
    pub(super) const LARGE: Self = Self { submissions: 512, completions: 16_384 };
}

/// A poll is named by the position of its entry and the number of its arming, because a completion may
/// arrive when the position has long been reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PollName {
    pub(super) position: u32,
    /// Never [`NO_ARMING`].
    pub(super) arming: u32,
}

/// The arming of completions that belong to no poll.
pub(super) const NO_ARMING: u32 = 0;

impl PollName {
    fn to_u64(self) -> u64 {
        u64::from(self.arming) << 32 | u64::from(self.position)
    }

    fn from_u64(data: u64) -> Self {
        Self { position: data as u32, arming: (data >> 32) as u32 }
    }
}

/// A completion of a poll.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) name: PollName,
    pub(super) result: i32,
    /// Whether the poll has ended.
    pub(super) is_last: bool,
}

pub(super) struct Ring {
    ring: IoUring,
    /// Dropped after the ring, see [`Sentinel`].
    sentinel: Sentinel,
    thread: u64,
    home: HomeProcess,
    /// Whether completions did not fit into the queue during the last enter, or before it.
    overflowed: bool,
    /// Completions that were taken out of the kernel's queue early.
    taken: Vec<Completion>,
    /// The number of polls of each position that have not had their last completion.
    in_flight: Vec<u32>,
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
        let (reader, writer) = io::pipe()?;
        let mut ring = Self {
            ring,
            sentinel: Sentinel { reader: Some(reader.into()), children: fork::children() },
            thread: this_thread(),
            home: HomeProcess::here(),
            overflowed: false,
            taken: Vec::new(),
            in_flight: Vec::new(),
        };
        let number = types::Fd(writer.as_raw_fd());
        let pushed = ring.push(&opcode::PollAdd::new(number, bits::ERR).multi(true).build());
        let entered = pushed.and_then(|()| ring.enter(0, None));
        // From here on only the ring can hold the writing end, which a forked child could inherit otherwise.
        drop(writer);
        entered.map(|()| ring)
    }

    pub(super) fn is_of_this_thread(&self) -> bool {
        self.thread == this_thread()
    }

    /// Arms a multishot poll with the next enter.
    pub(super) fn arm(
        &mut self,
        name: PollName,
        descriptor: Descriptor,
        asked: u32,
    ) -> io::Result<()> {
        let number = types::Fd(descriptor.borrow().as_raw_fd());
        let entry = opcode::PollAdd::new(number, asked).multi(true).build();
        self.push(&entry.user_data(name.to_u64()))?;
        let position = name.position as usize;
        if self.in_flight.len() <= position {
            self.in_flight.resize(position + 1, 0);
        }
        self.in_flight[position] += 1;
        Ok(())
    }

    /// Cancels a poll with the next enter. Where the kernel can skip it, a cancellation has no completion
    /// of its own.
    pub(super) fn cancel(&mut self, name: PollName) -> io::Result<()> {
        let mut entry = opcode::AsyncCancel::new(name.to_u64()).build();
        if self.ring.params().is_feature_skip_cqe_on_success() {
            entry = entry.flags(squeue::Flags::SKIP_SUCCESS);
        }
        self.push(&entry)
    }

    /// Whether the kernel may hold the file of a poll of this position, armed or cancelled.
    pub(super) fn is_in_flight(&self, position: usize) -> bool {
        self.in_flight.get(position).is_some_and(|&count| count > 0)
    }

    /// Waits until the kernel holds no file of the polls of this position, which are cancelled.
    pub(super) fn release(&mut self, position: usize) -> io::Result<()> {
        let (mut deadline, patience) = (None, self.sentinel.patience());
        self.take_early();
        while self.is_in_flight(position) {
            // The poll or its cancellation has a completion immediately, so the first enter does not sleep.
            // Mostly it is the last one of the poll; if not, the next enter waits for all of them.
            let result = match deadline {
                None => self.enter(1, None),
                Some(_) => self.enter_for_all(),
            };
            match result {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => self.take_early(),
            }
            if Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + patience) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// Puts an entry into the submission queue; if the queue is full, the kernel takes its content first.
    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: entries are polls and cancellations, which point to no memory.
        let try_push = |ring: &mut IoUring| unsafe { ring.submission().push(entry) }.is_ok();
        // After a second refusal nothing has made room, and the caller has to report it.
        for _ in 0..2 {
            if try_push(&mut self.ring) {
                return Ok(());
            }
            match self.ring.submit() {
                Err(error) if !is_busy(&error) => return Err(error),
                _ => self.take_early(),
            }
        }
        if try_push(&mut self.ring) { Ok(()) } else { Err(Errno::BUSY.into()) }
    }

    /// Whether an enter would do anything without waiting.
    pub(super) fn has_work(&mut self) -> bool {
        let submission = self.ring.submission();
        !submission.is_empty() || submission.taskrun() || submission.cq_overflow()
    }

    /// Whether no completion is waiting to be taken.
    pub(super) fn is_empty(&mut self) -> bool {
        self.taken.is_empty() && self.ring.completion().is_empty()
    }

    pub(super) fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Submits the pushed entries and waits for `want` completions.
    pub(super) fn enter(&mut self, want: usize, timeout: Option<Duration>) -> io::Result<()> {
        debug_assert!(self.is_of_this_thread());
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
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(()),
            // The kernel has no room for completions until some are taken.
            Err(error) if is_busy(&error) && !self.is_empty() => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    /// Lets the kernel put everything that it has into the completion queue.
    pub(super) fn enter_for_all(&mut self) -> io::Result<()> {
        self.enter(self.ring.params().cq_entries() as usize, Some(Duration::ZERO))
    }

    /// Takes the completions of polls; returns whether there was any completion.
    pub(super) fn take_completions(&mut self, mut take: impl FnMut(Completion)) -> bool {
        let mut any = !self.taken.is_empty();
        self.taken.drain(..).for_each(&mut take);
        let in_flight = &mut self.in_flight;
        for entry in self.ring.completion() {
            any = true;
            of_poll(&entry, in_flight).into_iter().for_each(&mut take);
        }
        any
    }

    fn take_early(&mut self) {
        let in_flight = &mut self.in_flight;
        let polls = self.ring.completion().filter_map(|entry| of_poll(&entry, in_flight));
        self.taken.extend(polls);
    }

    /// Closes a ring that belongs to another thread.
    pub(super) fn leave(mut self) -> Departed {
        Departed(mem::take(&mut self.sentinel))
    }

    /// Cancels everything and waits until that is done.
    fn cancel_all(&mut self) -> io::Result<()> {
        let everything = types::CancelBuilder::any().all();
        self.push(&opcode::AsyncCancel2::new(everything).build())?;
        let deadline = Instant::now() + self.sentinel.patience();
        let mut is_refused = false;
        while !is_refused && !self.sentinel.is_released() && Instant::now() < deadline {
            self.enter(1, Some(Duration::ZERO))?;
            for entry in self.ring.completion() {
                // Kernels before 5.19 cannot cancel everything.
                is_refused |= entry.result() == -libc::EINVAL;
            }
        }
        Ok(())
    }
}

fn of_poll(entry: &cqueue::Entry, in_flight: &mut [u32]) -> Option<Completion> {
    let name = PollName::from_u64(entry.user_data());
    if name.arming == NO_ARMING {
        return None;
    }
    let is_last = !cqueue::more(entry.flags());
    if is_last {
        in_flight[name.position as usize] -= 1;
    }
    Some(Completion { name, result: entry.result(), is_last })
}

/// Without a cancellation, the kernel releases the files some milliseconds after the ring was closed.
impl Drop for Ring {
    fn drop(&mut self) {
        if !self.home.is_here() {
            // The ring is the parent's: it may only be closed, which releases nothing.
            drop(self.sentinel.reader.take());
        } else if self.is_of_this_thread()
            && let Err(error) = self.cancel_all()
        {
            log::debug!("io_uring: cancelling: {error}");
        }
    }
}

/// Shows when a ring has released its files.
///
/// This is the reading end of a pipe whose writing end is held by a poll of the ring alone. The ring
/// releases all its files together, and the pipe hangs up then.
#[derive(Debug, Default)]
struct Sentinel {
    reader: Option<OwnedFd>,
    /// The number of forked children of this process when the ring was opened.
    children: u32,
}

impl Sentinel {
    /// The time limit for the release of the files: mostly some milliseconds, more on a busy
    /// machine. A child that was forked since holds the ring, too, and can delay the release indefinitely.
    fn patience(&self) -> Duration {
        let may_be_shared = self.children != fork::children();
        if may_be_shared { Duration::from_millis(50) } else { Duration::from_secs(2) }
    }

    fn is_released(&self) -> bool {
        self.is_released_within(Duration::ZERO)
    }

    fn is_released_within(&self, timeout: Duration) -> bool {
        let Some(reader) = &self.reader else { return true };
        let mut entry = [PollFd::new(reader, PollFlags::empty())];
        loop {
            match poll(&mut entry, Some(&to_timespec(timeout))) {
                Err(Errno::INTR) => {}
                // A wait is useless if the call fails.
                found => return found != Ok(0),
            }
        }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if !self.is_released_within(self.patience()) {
            log::warn!("io_uring: a closed ring still holds its files, probably in a forked child");
        }
    }
}

/// A closed ring of another thread. Dropping this waits until the ring has released its files, but no longer
/// than the limit of its [`Sentinel`].
#[derive(Debug)]
pub(super) struct Departed(#[allow(dead_code)] Sentinel);

/// A number for this thread that no other thread ever has.
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
