//! [`Waker`]: ends a wait from another thread.

mod channel;
mod flag;

use std::sync::{Arc, atomic};
use std::{fmt, io, task};

use crate::clock::Clock;
use crate::descriptor::Descriptor;
use crate::fork::HomeProcess;
pub(crate) use channel::Channel;
use flag::WakeFlag;

/// Ends the wait of a selector from anywhere: [`Selector::waker`](crate::Selector::waker) hands it
/// out, and it can be cloned and sent to other threads.
///
/// A wake is never lost: one that comes before the wait ends the next wait immediately. Wakes are
/// coalesced: any number of them before the end of a wait count as one. A wake is not an event and takes no
/// place in [`Events`](crate::Events); `select` returns, with zero events if there is nothing else.
///
/// A waker may outlive its selector; waking is without effect then. It also becomes a
/// [`task::Waker`] for executors.
///
/// ```
/// # #[cfg(unix)] {
/// use polyselect::{Events, Selector};
/// use std::{sync::mpsc, thread};
///
/// let mut selector: Selector<std::net::TcpStream> = Selector::new()?;
/// let waker = selector.waker()?;
/// let (sender, receiver) = mpsc::channel();
/// let thread = thread::spawn(move || {
///     sender.send("done").unwrap();
///     waker.wake()
/// });
///
/// let mut events = Events::with_capacity(8);
/// assert_eq!(selector.select(&mut events, None)?, 0);
/// assert_eq!(receiver.try_recv(), Ok("done"));
/// thread.join().unwrap()?;
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Waker(Arc<Shared>);

struct Shared {
    flag: WakeFlag,
    clock: Clock,
    channel: Channel,
}

impl Waker {
    pub(crate) fn new(clock: Clock) -> io::Result<Self> {
        let flag = WakeFlag::new(HomeProcess::here().forks());
        Ok(Self(Arc::new(Shared { flag, clock, channel: Channel::new()? })))
    }

    /// Makes the selector's wait return, or the next one if it is not waiting.
    ///
    /// Does not block, except on Windows on another backend than AFD, where sending over loopback can take
    /// a moment. Costs one atomic operation if a wake is pending, and a second one and a `write` if none is.
    ///
    /// In a forked child the parent is not woken: until the child rebuilds the selector, a wake is
    /// recorded there, and it ends the first wait after the `rebuild`.
    ///
    /// # Errors
    ///
    /// Returns the error of the write to an eventfd, a pipe or, on Windows, a completion port or a connection
    /// over loopback. This call has woken nothing then, and a later call tries again.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Events, Selector};
    /// # let mut selector: Selector<std::net::TcpStream> = Selector::new()?;
    /// # let mut events = Events::with_capacity(8);
    /// let waker = selector.waker()?;
    /// waker.wake()?;
    /// waker.wake()?;
    /// selector.select(&mut events, None)?; // returns immediately; the two wakes are coalesced
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wake(&self) -> io::Result<()> {
        self.0.clock.note_wake();
        self.0.flag.raise(HomeProcess::current().forks(), || self.0.channel.signal())
    }

    /// Takes the wakes that have come; later ones count for the next wait. To be called whenever
    /// the descriptor was readable, because a signal may come after its wake has been taken. Returns
    /// `false` if the descriptor was readable because of a [`poke`](Self::poke) only.
    pub(crate) fn take(&self) -> bool {
        self.0.flag.lower(|| self.0.channel.drain())
    }

    /// Ends the present call of the backend without a wake. To be called only by the process that opened
    /// the channel.
    pub(crate) fn poke(&self) -> io::Result<()> {
        self.0.channel.signal()
    }

    /// The end that becomes readable by a wake. It cannot fail again once it has succeeded.
    #[cfg(feature = "async")]
    pub(crate) fn as_fd(&self) -> io::Result<rustix::fd::BorrowedFd<'_>> {
        self.0.channel.reader()
    }

    /// Opens the sockets for a backend that has no port, and repeats there the wakes that a port may still have.
    #[cfg(windows)]
    pub(crate) fn prepare_sockets(&self) -> io::Result<()> {
        self.0.channel.prepare_sockets()
    }

    /// Sends later wakes to the port, or without one over the sockets that were prepared. The next wait takes what came
    /// before.
    #[cfg(windows)]
    pub(crate) fn set_port(&self, port: Option<Arc<crate::backend::Port>>) {
        self.0.channel.set_port(port);
    }

    /// Returns the descriptor that becomes readable by a wake.
    pub(crate) fn descriptor(&self) -> io::Result<Descriptor> {
        Ok(Descriptor::of(&self.0.channel.reader()?))
    }

    /// Gives a forked child its own channel, under the same number, so that it neither takes
    /// the parent's wakes nor needs new clones. A wake that was pending is so for both.
    #[cfg(unix)]
    pub(crate) fn renew(&self) -> io::Result<()> {
        let channel = &self.0.channel;
        let process = HomeProcess::current().forks();
        self.0.flag.renew(process, || channel.renew(), || channel.signal())
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").field("woken", &self.0.flag.is_raised()).finish()
    }
}

impl task::Wake for Shared {
    fn wake(self: Arc<Self>) {
        Self::wake_by_ref(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Err(error) = Waker(Arc::clone(self)).wake() {
            log::error!("a selector could not be woken: {error}");
        }
    }
}

/// For executors; an error of [`Waker::wake`] is logged.
impl From<Waker> for task::Waker {
    fn from(waker: Waker) -> Self {
        waker.0.into()
    }
}
