//! Child processes as callbacks.
//!
//! A part for each system notices that a child has ended. Only watched children are ever reaped, not other children
//! of the program.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::collections::VecDeque;
use std::io;
use std::panic::Location;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};

use super::call_user::{Iteration, Late, Place, Replaced};
use super::{EventLoop, errors};
use crate::clock::OutsideWork;
use crate::error::RegisterError;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

/// Names a child that is watched: [`EventLoop::watch_child`] returns it. It never names another.
///
/// See [`EventLoop::watch_child`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildKey(u64);

type Callback<T> = Box<dyn FnOnce(&mut EventLoop<T>, io::Result<ExitStatus>)>;

struct WatchedChild<T> {
    key: ChildKey,
    watch: system::Watch,
    child: Child,
    callback: Callback<T>,
    location: &'static Location<'static>,
    /// In a lab, lets time pass at the real pace, as it does for the child.
    _outside: OutsideWork,
}

pub(super) struct Children<T> {
    watched: Vec<WatchedChild<T>>,
    /// Reports that some child has ended, for children without a descriptor.
    common: system::Common,
    /// Children that may have ended, and have not been checked since.
    due: VecDeque<ChildKey>,
}

impl<T> Default for Children<T> {
    fn default() -> Self {
        Self { watched: Vec::new(), common: None, due: VecDeque::new() }
    }
}

impl<T> Children<T> {
    pub(super) fn places(&self) -> impl Iterator<Item = &'static Location<'static>> {
        self.watched.iter().map(|it| it.location)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Some child has ended; it may be one without a descriptor.
    pub(super) fn look_at_all(&mut self) {
        let common = self.watched.iter().filter(|watched| watched.watch.is_common());
        self.due.extend(common.map(|watched| watched.key));
    }

    fn position(&self, key: ChildKey) -> Option<usize> {
        self.watched.iter().position(|watched| watched.key == key)
    }

    fn remove(&mut self, key: ChildKey) -> Option<WatchedChild<T>> {
        Some(self.watched.swap_remove(self.position(key)?))
    }

    /// Reaps the next child that has ended, which is no longer watched then.
    fn next_ended(&mut self) -> Option<(WatchedChild<T>, io::Result<ExitStatus>)> {
        while let Some(key) = self.due.pop_front() {
            // An earlier callback may have taken it.
            let Some(position) = self.position(key) else { continue };
            if let Some(result) = self.watched[position].child.try_wait().transpose() {
                return Some((self.watched.swap_remove(position), result));
            }
        }
        None
    }
}

/// A child that a loop watches, borrowed with [`EventLoop::child_mut`]: the operations that are allowed while the loop
/// waits for its end.
///
/// The [`Child`] itself stays in the loop, so that it can be neither reaped nor replaced by another.
///
/// ```
/// use polyselect::EventLoop;
/// use std::io::Write;
/// use std::process::{Command, Stdio};
///
/// let mut event_loop = EventLoop::new(None)?;
/// let child = Command::new("sh").args(["-c", "read code; exit $code"]).stdin(Stdio::piped()).spawn()?;
/// let key = event_loop.watch_child(child, |event_loop, status| event_loop.state = status.ok())?;
/// let mut child = event_loop.child_mut(key).expect("is running");
/// assert_ne!(child.id(), 0);
/// let mut stdin = child.stdin().take().expect("is a pipe");
/// stdin.write_all(b"3\n")?;
/// event_loop.run()?;
/// assert_eq!(event_loop.state.and_then(|status| status.code()), Some(3));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ChildMut<'a>(&'a mut Child);

impl ChildMut<'_> {
    /// Returns the process id. It names this child until the loop has called back.
    ///
    /// See [`ChildMut`] for an example.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Kills the child, as [`Child::kill`] does; its callback gets the exit status in a later iteration.
    ///
    /// # Errors
    ///
    /// The errors of [`Child::kill`].
    ///
    /// See [`EventLoop::child_mut`] for an example.
    pub fn kill(&mut self) -> io::Result<()> {
        self.0.kill()
    }

    /// Returns the child's standard input, if it is a pipe that has not been taken.
    ///
    /// See [`ChildMut`] for an example.
    pub fn stdin(&mut self) -> &mut Option<ChildStdin> {
        &mut self.0.stdin
    }

    /// Returns the child's standard output, if it is a pipe that has not been taken.
    ///
    /// ```
    /// # use polyselect::EventLoop;
    /// # use std::{io::Read, process::{Command, Stdio}};
    /// # let mut event_loop = EventLoop::new(())?;
    /// let child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    /// let key = event_loop.watch_child(child, |_loop, _status| {})?;
    /// let stdout = event_loop.child_mut(key).expect("is watched").stdout().take();
    /// let mut text = String::new();
    /// stdout.expect("is a pipe").read_to_string(&mut text)?;
    /// assert_eq!(text, "hello\n");
    /// # event_loop.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stdout(&mut self) -> &mut Option<ChildStdout> {
        &mut self.0.stdout
    }

    /// Returns the child's standard error, if it is a pipe that has not been taken.
    ///
    /// Like [`stdout`](Self::stdout).
    pub fn stderr(&mut self) -> &mut Option<ChildStderr> {
        &mut self.0.stderr
    }
}

impl<T: 'static> EventLoop<T> {
    /// Calls `callback` with the exit status when `child` has ended.
    ///
    /// The loop owns the child and reaps it, so that no zombie stays; it never reaps another child.
    /// The callback gets an error if the child was reaped elsewhere (`ECHILD`).
    /// [`child_mut`](Self::child_mut) borrows the child, to kill it or to write to it;
    /// [`take_child`](Self::take_child) returns it. Dropping the loop lets running children
    /// continue, as dropping a [`Child`] does. Does not block.
    ///
    /// # Errors
    ///
    /// A [`RegisterError`] with child and callback, if the system provides neither a descriptor for a process
    /// nor a [`Waker`](crate::Waker) for `SIGCHLD`; on Windows, if it provides no wait for the process.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::process::Command;
    ///
    /// let mut event_loop = EventLoop::new(None)?;
    /// let child = Command::new("sh").args(["-c", "exit 3"]).spawn()?;
    /// event_loop.watch_child(child, |event_loop, status| event_loop.state = status.ok())?;
    /// event_loop.run()?;
    /// assert_eq!(event_loop.state.and_then(|status| status.code()), Some(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn watch_child<F>(
        &mut self,
        child: Child,
        callback: F,
    ) -> Result<ChildKey, RegisterError<Child, F>>
    where
        F: FnOnce(&mut Self, io::Result<ExitStatus>) + 'static,
    {
        static KEYS: AtomicU64 = AtomicU64::new(0);

        let key = ChildKey(KEYS.fetch_add(1, Ordering::Relaxed));
        let location = Location::caller();
        let watch = match self.watch_end(&child, key, location) {
            Ok(watch) => watch,
            Err(error) => return Err(RegisterError::new(error, child, callback)),
        };
        let callback = Box::new(callback);
        let _outside = self.timers.clock().outside_work();
        self.children.watched.push(WatchedChild {
            key,
            watch,
            child,
            callback,
            location,
            _outside,
        });
        Ok(key)
    }

    /// Borrows a child, to kill it, or for its pipes; `None` if it has ended or been taken.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::process::Command;
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// let child = Command::new("sleep").arg("1000").spawn()?;
    /// let key = event_loop.watch_child(child, |_loop, status| assert!(!status.unwrap().success()))?;
    /// event_loop.child_mut(key).expect("is running").kill()?;
    /// event_loop.run()?;
    /// assert!(event_loop.child_mut(key).is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn child_mut(&mut self, key: ChildKey) -> Option<ChildMut<'_>> {
        let position = self.children.position(key)?;
        Some(ChildMut(&mut self.children.watched[position].child))
    }

    /// Stops watching a child and returns it. Its callback is dropped; the caller has to reap it.
    ///
    /// # Errors
    ///
    /// `NotFound` if the key does not name a watched child of this loop: it has ended or been taken, or is another
    /// loop's.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::process::Command;
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// let child = Command::new("true").spawn()?;
    /// let key = event_loop.watch_child(child, |_loop, _status| unreachable!())?;
    /// let mut child = event_loop.take_child(key)?;
    /// assert!(child.wait()?.success());
    /// event_loop.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take_child(&mut self, key: ChildKey) -> io::Result<Child> {
        let removed = self.children.remove(key);
        let removed =
            removed.ok_or_else(|| errors::not_found(format_args!("{key:?} names no child")))?;
        self.forget_common();
        self.forget_watch(removed.watch);
        Ok(removed.child)
    }

    /// Calls back for each child that has ended.
    #[inline]
    pub(super) fn reap_children(&mut self, iteration: &Iteration) -> Result<(), Replaced> {
        if self.children.is_due() { self.reap_due_children(iteration) } else { Ok(()) }
    }

    #[inline(never)]
    fn reap_due_children(&mut self, iteration: &Iteration) -> Result<(), Replaced> {
        while let Some((child, result)) = self.children.next_ended() {
            let WatchedChild { callback, location, watch, .. } = child;
            self.forget_common();
            // Its descriptor has no further use, also after a panic.
            let registrant = watch.registrant();
            let call = |event_loop: &mut Self| callback(event_loop, result);
            match self.call_user(iteration, registrant, Place::Child(location), call) {
                Ok(()) => self.forget_watch(watch),
                Err(replaced) => {
                    iteration.leave(Late::Ended(registrant));
                    return Err(replaced);
                }
            }
        }
        Ok(())
    }
}
