//! Calls from other threads.

mod post;

use std::panic::Location;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, atomic};
use std::thread::{self, ThreadId};
use std::time::Duration;
use std::{fmt, io};

use super::EventLoop;
use super::calls::Calls;
use crate::waker::Waker;
use post::Post;

type Call<T> = Box<dyn FnOnce(&mut EventLoop<T>) + Send>;
type Letter<T> = (Call<T>, &'static Location<'static>);

struct Shared<T> {
    post: Post<Letter<T>>,
    waker: Waker,
    /// A loop stays with the thread that made it.
    home: ThreadId,
}

/// A handle by which other threads have something done on the loop's thread:
/// [`EventLoop::remote`].
///
/// It can be cloned and sent, also where the loop's state cannot. What is sent is queued and runs in
/// the order in which it was sent: with the next turn, be the loop waiting, at work, or not running
/// yet or any more. When the loop is dropped, what was queued is dropped without being run, and
/// sending is an error from then on.
///
/// While anybody has a handle, [`EventLoop::run`] goes on waiting for calls.
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
pub struct Remote<T>(Arc<Shared<T>>);

impl<T: 'static> Remote<T> {
    /// Has `call` run on the loop's thread. Does not wait for that.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the loop has been dropped; and what [`Waker::wake`] gives, in which case the
    /// call is queued but a loop that waits may not notice before its wait ends.
    ///
    /// See [`Remote`] for an example.
    #[track_caller]
    pub fn call(&self, call: impl FnOnce(&mut EventLoop<T>) + Send + 'static) -> io::Result<()> {
        self.send(Box::new(call), Location::caller())
    }

    fn send(&self, call: Call<T>, location: &'static Location<'static>) -> io::Result<()> {
        // The waker coalesces, so it can be asked each time.
        self.0.post.send((call, location)).map_err(|_call| gone())?;
        self.0.waker.wake()
    }

    /// Has `call` run on the loop's thread, waits until it has, and returns what it returned.
    ///
    /// Blocks for no longer than `timeout`; `None` is as long as it takes.
    ///
    /// # Errors
    ///
    /// - `Deadlock` on the loop's own thread, where waiting for the loop would never end;
    /// - `TimedOut` if the time was up; the message says whether the call was withdrawn (it will not
    ///   run) or had already begun;
    /// - `BrokenPipe` if the loop has been dropped, or was before it came to the call, or if the call
    ///   panicked; and as [`call`](Self::call).
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

        if thread::current().id() == self.0.home {
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
                    // Nobody to hear it is a call that had begun when the time was up.
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
            // It may have answered in this very moment.
            Err(RecvTimeoutError::Timeout) => receiver.try_recv().map_err(|_| {
                let message = "the event loop is still busy with the call, whose answer is lost";
                io::Error::new(io::ErrorKind::TimedOut, message)
            }),
        }
    }

    /// Stops the loop, after what was sent before: as a call of [`EventLoop::stop`].
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// See [`Remote`] for an example.
    #[track_caller]
    pub fn stop(&self) -> io::Result<()> {
        self.call(EventLoop::stop)
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the event loop has been dropped")
}

impl<T> Clone for Remote<T> {
    fn clone(&self) -> Self {
        self.0.post.enter();
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Remote<T> {
    fn drop(&mut self) {
        // A loop that has nothing but this to wait for should notice.
        if self.0.post.leave()
            && let Err(error) = self.0.waker.wake()
        {
            log::error!("an event loop could not be told that its last remote is gone: {error}");
        }
    }
}

impl<T> fmt::Debug for Remote<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("waker", &self.0.waker).finish_non_exhaustive()
    }
}

/// The loop's side.
pub(super) struct Mailbox<T>(Option<Arc<Shared<T>>>);

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Mailbox<T> {
    #[inline]
    pub(super) fn empty_into(&self, calls: &mut Calls<T>)
    where
        T: 'static,
    {
        if let Some(shared) = &self.0 {
            shared.post.receive(|(call, location)| calls.push(call, location));
        }
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.post.is_in_use())
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            // What was queued may hold handles of its own, so it is dropped here, not with them.
            drop(shared.post.close());
        }
    }
}

impl<T: 'static> EventLoop<T> {
    /// A handle by which other threads have something done on this one.
    ///
    /// The first asks for a [`Waker`]: a descriptor or two.
    ///
    /// # Errors
    ///
    /// As [`Selector::waker`](crate::Selector::waker).
    ///
    /// See [`Remote`] for an example.
    pub fn remote(&mut self) -> io::Result<Remote<T>> {
        let shared = match &self.mailbox.0 {
            Some(shared) => shared,
            None => {
                let waker = self.selector.waker()?;
                let home = thread::current().id();
                self.mailbox.0.insert(Arc::new(Shared { post: Post::new(), waker, home }))
            }
        };
        shared.post.enter();
        Ok(Remote(Arc::clone(shared)))
    }
}
