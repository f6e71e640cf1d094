//! io_uring: Linux 5.13 and later.
//!
//! A multishot poll is armed for each registration, and the kernel queues a completion when it fires;
//! changes go over with the wait. Where it surprises:
//!
//! - What is queued is the past: a completion may tell of data that was read since. So completions
//!   only hint where to look, see [`Hints`].
//! - An armed poll keeps the file open: the peer of a socket that is closed sees no end of the stream.
//!   So `unregister` cancels it and waits for its last completion.
//! - The completion of a cancellation may come before or after the last one of what it cancels, and
//!   an old one may come when a slot has long been reused. So every arming has a number of its own.
//! - A poll ends (its completion lacks the `MORE` flag) when the completion queue overflows, and when
//!   what woke it was the signal of another ring. It is armed anew, or the next wave would be missed.
//!   It also ends, at once, on files that have nothing to wait for: regular files, terminals whose
//!   other side is gone. Arming those anew would never end.
//! - The flag that there is work to run may stay up with nothing behind it: it is raised when work has
//!   been queued, and by then the ring's thread may have run it. So it is no reason to enter for ever.
//! - Priority data alone wakes no poll: the kernel leaves that flag out when it compares what happened
//!   with what was asked for. So `IN` is asked for beside it.
//! - A ring belongs to the thread that armed it, see [`Ring`].

mod ring;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use io_uring::{cqueue, opcode, types};
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use super::Mechanism;
use super::hints::{Hints, Silenced, Watched};
use super::poll_set::check_open;
use crate::descriptor::Descriptor;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;
use ring::{Departed, Ring, Sizes};

pub(super) fn open() -> io::Result<Box<dyn Mechanism>> {
    open_with(Sizes::LARGE)
}

fn open_with(sizes: Sizes) -> io::Result<Box<dyn Mechanism>> {
    Ok(Box::new(Uring {
        ring: Ring::open(sizes)?,
        hints: Hints::default(),
        to_arm: Vec::new(),
        armings: 0,
        departed: Vec::new(),
        signal: None,
    }))
}

#[derive(Debug)]
struct Uring {
    ring: Ring,
    hints: Hints<Poll>,
    /// What goes over with the next wait: position and arming.
    to_arm: Vec<(u32, u32)>,
    /// The number of the last arming.
    armings: u32,
    /// Rings of threads that this one has left, which may not have let their files go.
    departed: Vec<Departed>,
    /// Becomes readable with a completion; for nesting.
    signal: Option<OwnedFd>,
}

/// The multishot poll of a registration.
#[derive(Debug, Default)]
struct Poll {
    /// The number of the arming that counts; zero while there is none.
    arming: u32,
    /// Whether that one is with the kernel.
    armed: bool,
    /// Whether it has had a completion.
    answered: bool,
    /// Whether that was the last, for the file has nothing to wait for.
    static_readiness: bool,
    /// How many armings, this and cancelled ones, have not had their last completion.
    in_flight: u32,
}

impl Mechanism for Uring {
    fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        let position = self.hints.find(descriptor);
        if new.interest().is_empty() {
            return position.map_or(Ok(()), |position| self.remove(position));
        }
        if old.is_empty() {
            check_open(descriptor)?;
        }
        let position = match position {
            Some(position) => {
                self.settle_thread()?;
                self.disarm(position)?;
                self.hints.change(position, token, new);
                position
            }
            None => self.hints.insert(descriptor, token, new, Poll::default()),
        };
        self.arm_with_next_wait(position);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.settle_thread()?;
        self.arm()?;
        self.quieten();
        if self.ring.has_work() {
            self.ring.enter(0, None)?;
        }
        // What they hint at shows as a hidden event.
        self.take_completions();
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.settle_thread()?;
        self.arm()?;
        self.quieten();
        if self.hints.is_idle() && self.ring.is_empty() && timeout != Some(Duration::ZERO) {
            self.ring.enter(1, timeout)?;
        } else if self.ring.has_work() {
            self.ring.enter(0, None)?;
        }
        self.take_completions();
        // An enter hands out no more than a batch.
        while self.ring.has_work() {
            self.ring.enter(0, None)?;
            if !self.take_completions() {
                self.ring.enter_for_all()?;
                self.take_completions();
                break;
            }
        }
        let (ring, to_arm, armings) = (&mut self.ring, &mut self.to_arm, &mut self.armings);
        let mut result = Ok(());
        self.hints.report(events, |watched, position, why| match why {
            Silenced::Spent => {
                if let Err(error) = cancel(ring, watched, position) {
                    result = Err(error);
                }
            }
            Silenced::Cooled if watched.state.armed || watched.state.static_readiness => {}
            Silenced::Cooled => queue_arming(to_arm, armings, &mut watched.state, position),
        })?;
        result
    }

    fn descriptor(&mut self) -> io::Result<Option<BorrowedFd<'_>>> {
        if self.signal.is_none() {
            let signal = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            self.settle_thread()?;
            self.ring.signal_with(&signal)?;
            self.signal = Some(signal);
        }
        Ok(self.signal.as_ref().map(AsFd::as_fd))
    }

    fn has_hidden_event(&self) -> bool {
        !self.hints.is_idle()
    }
}

impl Uring {
    fn arm_with_next_wait(&mut self, position: usize) {
        if let Some(watched) = self.hints.get_mut(position) {
            queue_arming(&mut self.to_arm, &mut self.armings, &mut watched.state, position);
        }
    }

    /// Puts all that waits for it into the submission queue.
    fn arm(&mut self) -> io::Result<()> {
        while let Some((position, arming)) = self.to_arm.pop() {
            let position = position as usize;
            let Some(watched) = self.hints.get_mut(position) else { continue };
            if watched.state.arming != arming || watched.state.armed {
                continue; // it was changed or removed since
            }
            let number = types::Fd(watched.descriptor.borrow().as_raw_fd());
            let entry = opcode::PollAdd::new(number, asked_bits(watched.watch.interest()))
                .multi(true)
                .build()
                .user_data(user_data(position, arming));
            self.ring.push(&entry)?;
            watched.state.armed = true;
            watched.state.answered = false;
            watched.state.static_readiness = false;
            watched.state.in_flight += 1;
        }
        Ok(())
    }

    /// Takes the signal back. Completions are taken after that, so that one that comes meanwhile
    /// signals anew.
    fn quieten(&self) {
        if let Some(signal) = &self.signal {
            let _ = rustix::io::read(signal, &mut [0; 8]);
        }
    }

    /// Has a poll cancelled with the next enter.
    fn disarm(&mut self, position: usize) -> io::Result<()> {
        match self.hints.get_mut(position) {
            Some(watched) => cancel(&mut self.ring, watched, position),
            None => Ok(()),
        }
    }

    /// Forgets a registration, when the kernel has let its file go.
    fn remove(&mut self, position: usize) -> io::Result<()> {
        self.settle_thread()?;
        let mut result = self.disarm(position);
        // The poll, or else its cancellation, has a completion at once, so the first enter does not
        // sleep. Mostly it is the last of the poll; if not, everything there is is asked for.
        let mut enters = 0;
        while result.is_ok() && self.is_in_flight(position) {
            result = match enters {
                0 => self.ring.enter(1, None),
                1..1000 => self.ring.enter_for_all(),
                _ => Err(io::Error::other("io_uring does not let go of a file")),
            };
            if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
                result = Ok(());
            }
            self.take_completions();
            enters += 1;
        }
        self.hints.remove(position);
        self.departed.drain(..).for_each(Departed::join);
        result
    }

    fn is_in_flight(&mut self, position: usize) -> bool {
        self.hints.get_mut(position).is_some_and(|watched| watched.state.in_flight > 0)
    }

    /// Notes what the completions hint at, and says whether there were any.
    fn take_completions(&mut self) -> bool {
        let mut any = false;
        let overflowed = self.ring.has_overflowed();
        let (hints, to_arm, armings) = (&mut self.hints, &mut self.to_arm, &mut self.armings);
        self.ring.for_each_completion(|completion| {
            any = true;
            let (position, arming) = split(completion.user_data());
            if arming == NO_ARMING {
                return;
            }
            let Some(watched) = hints.get_mut(position) else { return };
            let (state, is_edge) = (&mut watched.state, watched.watch.is_edge());
            let ended = !cqueue::more(completion.flags());
            state.in_flight -= u32::from(ended);
            if state.arming != arming {
                return; // cancelled since
            }
            state.armed &= !ended;
            let first = !std::mem::replace(&mut state.answered, true);
            let result = completion.result();
            if ended && first && !overflowed {
                let hung_up = result > 0 && result.unsigned_abs() & bits::HUP != 0;
                state.static_readiness = hung_up || !can_be_polled(watched.descriptor);
            }
            match result {
                found @ 0.. => {
                    // What is level-triggered is armed anew when it has cooled down.
                    if ended && is_edge && !state.static_readiness {
                        queue_arming(to_arm, armings, state, position);
                    }
                    hints.hint(position, found.unsigned_abs() & bits::ALL);
                }
                // Not by us: the thread that armed it has ended.
                error if error == -libc::ECANCELED => {
                    queue_arming(to_arm, armings, state, position);
                }
                error if error == -libc::EINVAL => {}
                error => {
                    let error = io::Error::from_raw_os_error(-error);
                    log::debug!("descriptor {}: polling failed: {error}", watched.descriptor);
                    hints.hint(position, bits::NVAL);
                }
            }
        });
        any
    }

    /// Opens a new ring if this thread is not the one that the present ring belongs to.
    fn settle_thread(&mut self) -> io::Result<()> {
        if self.ring.is_of_this_thread() {
            return Ok(());
        }
        log::debug!("io_uring: another thread, another ring");
        let ring = self.ring.open_another()?;
        if let Some(signal) = &self.signal {
            ring.signal_with(signal)?;
        }
        self.departed.push(std::mem::replace(&mut self.ring, ring).leave());
        self.to_arm.clear();
        for (position, watched) in self.hints.iter_mut() {
            let wanted = watched.state.arming != NO_ARMING;
            watched.state = Poll::default();
            if wanted {
                queue_arming(&mut self.to_arm, &mut self.armings, &mut watched.state, position);
            }
        }
        Ok(())
    }
}

/// The arming of completions that nobody waits for.
const NO_ARMING: u32 = 0;

fn user_data(position: usize, arming: u32) -> u64 {
    u64::from(arming) << 32 | position as u64
}

fn split(user_data: u64) -> (usize, u32) {
    (user_data as u32 as usize, (user_data >> 32) as u32)
}

fn queue_arming(
    to_arm: &mut Vec<(u32, u32)>,
    armings: &mut u32,
    state: &mut Poll,
    position: usize,
) {
    *armings = armings.checked_add(1).unwrap_or(NO_ARMING + 1);
    state.arming = *armings;
    to_arm.push((position as u32, state.arming));
}

fn cancel(ring: &mut Ring, watched: &mut Watched<Poll>, position: usize) -> io::Result<()> {
    let arming = std::mem::replace(&mut watched.state.arming, NO_ARMING);
    if std::mem::take(&mut watched.state.armed) {
        ring.cancel(user_data(position, arming), user_data(0, NO_ARMING))?;
    }
    Ok(())
}

/// Whether readiness of a file can change, as epoll sees it. Asked only of what ended at once.
fn can_be_polled(descriptor: Descriptor) -> bool {
    let Ok(epoll) = epoll::create(epoll::CreateFlags::CLOEXEC) else { return true };
    let (data, flags) = (epoll::EventData::new_u64(0), epoll::EventFlags::empty());
    epoll::add(&epoll, descriptor.borrow(), data, flags) != Err(Errno::PERM)
}

fn asked_bits(interest: Interest) -> u32 {
    let mut asked = 0;
    if interest.contains(Interest::READABLE) {
        asked |= bits::IN | bits::RDHUP;
    }
    if interest.contains(Interest::WRITABLE) {
        asked |= bits::OUT;
    }
    if interest.contains(Interest::PRIORITY) {
        asked |= bits::PRI | bits::IN;
    }
    asked
}
