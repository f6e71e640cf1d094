//! Calls from other threads.

mod queue;

use std::panic::Location;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, atomic};
use std::thread::{self, ThreadId};
use std::time::Duration;
use std::{fmt, io};

use super::EventLoop;
use super::calls::Calls;
use super::local::gone;
use crate::clock::Clock;
use crate::waker::Waker;
use queue::CallQueue;

type Call<T> = Box<dyn FnOnce(&mut EventLoop<T>) + Send>;

struct Inbox<T> {
    /// Whether the loop's own thread has sent a call since calls were received.
    #[cfg(feature = "testing")]
    has_own_call: atomic::AtomicBool,
    queue: CallQueue<(Call<T>, &'static Location<'static>)>,
    waker: Waker,
    /// A loop stays with the thread that made it.
    thread: ThreadId,
}

/// A handle with which other threads run closures on the loop's thread; [`EventLoop::remote`] returns it.
///
/// It can be cloned and sent, even where the loop's state cannot. Calls run in the order in which they were sent: with
/// the next iteration, whether the loop waits, works, or does not run at the time. When the loop is dropped, queued
/// calls are dropped without being run, and sending fails from then on.
///
/// While a handle exists, [`EventLoop::run`] goes on waiting for calls. On the loop's own thread a
/// [`Local`](crate::Local) costs less and takes closures that are not `Send`.
///
/// ```
/// # #[cfg(unix)] {
/// use polyselect::EventLoop;
/// use std::thread;
///
/// let mut event_loop = EventLoop::new(0)?;
/// let remote = event_loop.remote()?;
/// let thread = thread::spawn(move || {
///     for _ in 0..3 {
///         remote.call(|event_loop| event_loop.state += 1)?;
///     }
///     remote.stop()
/// });
/// event_loop.run()?;
/// assert_eq!(event_loop.state, 3);
/// thread.join().unwrap()?;
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Remote<T>(Arc<Inbox<T>>);

impl<T> Inbox<T> {
    /// Whether the calls that other threads have sent come in a later iteration, as the lab decides.
    #[cfg(feature = "testing")]
    fn are_late(&self, clock: &Clock) -> bool {
        let has_own_call = self.has_own_call.swap(false, Ordering::Relaxed);
        let are_late = self.queue.has_calls() && !has_own_call && clock.delays_calls();
        // The loop must not sleep on them.
        are_late && self.waker.wake().is_ok()
    }

    #[cfg(not(feature = "testing"))]
    #[allow(clippy::unused_self)]
    fn are_late(&self, _: &Clock) -> bool {
        false
    }
}

impl<T: 'static> Remote<T> {
    /// Sends `call` to run on the loop's thread, and returns without waiting for it.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the loop has been dropped; and the errors of [`Waker::wake`], in which case the
    /// call is queued but a waiting loop may not be woken, and runs it when its wait ends.
    ///
    /// See [`Remote`] for an example.
    #[track_caller]
    pub fn call(&self, call: impl FnOnce(&mut EventLoop<T>) + Send + 'static) -> io::Result<()> {
        self.send(Box::new(call), Location::caller())
    }

    fn send(&self, call: Call<T>, location: &'static Location<'static>) -> io::Result<()> {
        #[cfg(feature = "testing")]
        if thread::current().id() == self.0.thread {
            self.0.has_own_call.store(true, Ordering::Relaxed);
        }
        // The waker coalesces, so it can be called each time.
        self.0.queue.send((call, location)).map_err(|_call| gone())?;
        self.0.waker.wake()
    }

    /// Sends `call` to run on the loop's thread, waits until it has run, and returns its result.
    ///
    /// Blocks for at most `timeout`; `None` waits without a limit.
    ///
    /// # Errors
    ///
    /// - `Deadlock` on the loop's own thread, where waiting for the loop would never end;
    /// - `TimedOut` if `timeout` has passed; the message reports whether the call was withdrawn (it will not
    ///   run) or had already begun;
    /// - `BrokenPipe` if the loop was dropped before it came to the call, or if the call panicked;
    /// - the errors of [`call`](Self::call).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use polyselect::EventLoop;
    /// use std::{io::ErrorKind, thread, time::Duration};
    ///
    /// let mut event_loop = EventLoop::new(String::from("state"))?;
    /// let remote = event_loop.remote()?;
    /// let here = remote.call_and_wait(None, |event_loop| event_loop.state.len());
    /// assert_eq!(here.unwrap_err().kind(), ErrorKind::Deadlock);
    ///
    /// let thread = thread::spawn(move || {
    ///     remote.call_and_wait(Duration::from_secs(10), |event_loop| event_loop.state.len())
    /// });
    /// event_loop.run()?; // which ends when the thread, and its handle, are gone
    /// assert_eq!(thread.join().unwrap()?, 5);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn call_and_wait<R: Send + 'static>(
        &self,
        timeout: impl Into<Option<Duration>>,
        call: impl FnOnce(&mut EventLoop<T>) -> R + Send + 'static,
    ) -> io::Result<R> {
        const QUEUED: u8 = 0;
        const BEGUN: u8 = 1;
        const WITHDRAWN: u8 = 2;

        if thread::current().id() == self.0.thread {
            return Err(io::Error::new(
                io::ErrorKind::Deadlock,
                "the loop's own thread cannot wait for it; use `call`, or the loop itself",
            ));
        }
        let stage = Arc::new(AtomicU8::new(QUEUED));
        let pass_to = |stage: &AtomicU8, next| {
            stage.compare_exchange(QUEUED, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
        };
        let (sender, receiver) = sync_channel(1);
        let call = {
            let stage = Arc::clone(&stage);
            move |event_loop: &mut EventLoop<T>| {
                if pass_to(&stage, BEGUN) {
                    // Without a receiver the call had begun when the timeout expired.
                    let _ = sender.send(call(event_loop));
                }
            }
        };
        self.send(Box::new(call), Location::caller())?;
        let unanswered =
            "the event loop was dropped before it came to the call, or the call panicked";
        let unanswered = || io::Error::new(io::ErrorKind::BrokenPipe, unanswered);
        let Some(timeout) = timeout.into() else {
            return receiver.recv().map_err(|_| unanswered());
        };
        match receiver.recv_timeout(timeout) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Disconnected) => Err(unanswered()),
            Err(RecvTimeoutError::Timeout) if pass_to(&stage, WITHDRAWN) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the event loop did not come to the call in time; it was withdrawn",
            )),
            // The result may have come meanwhile.
            Err(RecvTimeoutError::Timeout) => receiver.try_recv().map_err(|_| {
                let message = "the event loop is still busy with the call, whose answer is lost";
                io::Error::new(io::ErrorKind::TimedOut, message)
            }),
        }
    }

    /// Stops the loop, after the calls that were sent before; a call of [`EventLoop::stop`].
    ///
    /// # Errors
    ///
    /// The errors of [`call`](Self::call).
    ///
    /// See [`Remote`] for an example.
    #[track_caller]
    pub fn stop(&self) -> io::Result<()> {
        self.call(EventLoop::stop)
    }
}

impl<T> Clone for Remote<T> {
    fn clone(&self) -> Self {
        self.0.queue.add_sender();
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Remote<T> {
    fn drop(&mut self) {
        // Wakes a loop that waits only for remotes.
        if self.0.queue.remove_sender()
            && let Err(error) = self.0.waker.wake()
        {
            log::error!("an event loop could not be woken for the end of its last remote: {error}");
        }
    }
}

impl<T> fmt::Debug for Remote<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("waker", &self.0.waker).finish_non_exhaustive()
    }
}

/// The loop's side of its [`Remote`]s; nothing until the first.
pub(super) struct Remotes<T>(Option<Arc<Inbox<T>>>);

impl<T> Default for Remotes<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Remotes<T> {
    /// Moves the calls that were sent to those of the iteration.
    #[inline]
    pub(super) fn receive_into(&self, calls: &mut Calls<T>, clock: &Clock)
    where
        T: 'static,
    {
        if let Some(inbox) = &self.0 {
            if clock.is_in_lab() && inbox.are_late(clock) {
                return;
            }
            inbox.queue.receive(|(call, location)| calls.push(call, location));
        }
    }

    pub(super) fn are_in_use(&self) -> bool {
        self.0.as_ref().is_some_and(|inbox| inbox.queue.is_in_use())
    }
}

impl<T> Drop for Remotes<T> {
    fn drop(&mut self) {
        if let Some(inbox) = &self.0 {
            // The calls may own handles, so they are dropped here, not with the last handle.
            drop(inbox.queue.close());
        }
    }
}

impl<T: 'static> EventLoop<T> {
    /// Returns a handle with which other threads run closures on this one.
    ///
    /// The first needs a [`Waker`]: a descriptor or two.
    ///
    /// # Errors
    ///
    /// The errors of [`Selector::waker`](crate::Selector::waker).
    ///
    /// See [`Remote`] for an example.
    pub fn remote(&mut self) -> io::Result<Remote<T>> {
        let inbox = match &self.remotes.0 {
            Some(inbox) => inbox,
            None => {
                let waker = self.sources.selector.waker()?;
                let thread = thread::current().id();
                let inbox = Inbox {
                    #[cfg(feature = "testing")]
                    has_own_call: atomic::AtomicBool::new(false),
                    queue: CallQueue::new(),
                    waker,
                    thread,
                };
                self.remotes.0.insert(Arc::new(inbox))
            }
        };
        inbox.queue.add_sender();
        Ok(Remote(Arc::clone(inbox)))
    }
}
