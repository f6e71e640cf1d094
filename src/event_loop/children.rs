//! Child processes as callbacks.
//!
//! Linux has a descriptor for a process (pidfd) that becomes readable when it ends. Elsewhere, and
//! where a sandbox forbids it, `SIGCHLD` says that some child has ended, and each that is watched is
//! asked. Only those are ever waited for: the host program's other children are its own.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{EventLoop, Next, SignalKey};
use crate::error::RegisterError;
use crate::interest::{Interest, Watch};
use crate::key::Key;
use crate::signal::SIGCHLD;

/// Names a child that is watched: what [`EventLoop::watch_child`] returns. It never names another.
///
/// See [`EventLoop::watch_child`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildKey(u64);

type Callback<T> = Box<dyn FnOnce(&mut EventLoop<T>, io::Result<ExitStatus>)>;

struct Watched<T> {
    key: ChildKey,
    child: Child,
    callback: Callback<T>,
    location: &'static Location<'static>,
    /// The registration of its pidfd.
    pidfd: Option<Key>,
}

pub(super) struct Children<T> {
    watched: Vec<Watched<T>>,
    /// Set while there are children without a pidfd.
    sigchld: Option<SignalKey>,
}

impl<T> Default for Children<T> {
    fn default() -> Self {
        Self { watched: Vec::new(), sigchld: None }
    }
}

impl<T> Children<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    fn position(&self, key: ChildKey) -> Option<usize> {
        self.watched.iter().position(|watched| watched.key == key)
    }
}

impl<T: 'static> EventLoop<T> {
    /// Calls `callback` with the exit status when the child has ended. The loop owns the child, and
    /// reaps it, so that no zombie stays; it never waits for a child that it was not given.
    ///
    /// The callback gets an error if somebody else has reaped the child (`ECHILD`).
    /// [`child_mut`](Self::child_mut) lends the child, to kill it or to write to it;
    /// [`take_child`](Self::take_child) gives it back. Dropping the loop leaves children that still
    /// run alone, as dropping a [`Child`] does. Unix only.
    ///
    /// # Errors
    ///
    /// A [`RegisterError`] with child and callback, if there is neither a descriptor for a process
    /// nor a [`Waker`](crate::Waker) for `SIGCHLD` to be had.
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
        let pidfd = match self.watch_pidfd(&child, key, location) {
            Ok(pidfd) => Some(pidfd),
            Err(error) => {
                log::debug!("child {} is watched by SIGCHLD: {error}", child.id());
                if let Err(error) = self.watch_sigchld() {
                    return Err(RegisterError::new(error, child, callback));
                }
                None
            }
        };
        let callback = Box::new(callback);
        self.children.watched.push(Watched { key, child, callback, location, pidfd });
        if pidfd.is_none() {
            // It may have ended before anybody listened.
            self.call_soon(move |event_loop| event_loop.look_after(key));
        }
        Ok(key)
    }

    /// The child, to kill it, or for its pipes; `None` if it has ended or been taken.
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
    pub fn child_mut(&mut self, key: ChildKey) -> Option<&mut Child> {
        let position = self.children.position(key)?;
        Some(&mut self.children.watched[position].child)
    }

    /// Stops watching a child and gives it back; `None` if it has ended or been taken. Its callback
    /// is dropped, and reaping it is the caller's affair.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::process::Command;
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// let child = Command::new("true").spawn()?;
    /// let key = event_loop.watch_child(child, |_loop, _status| unreachable!())?;
    /// let mut child = event_loop.take_child(key).expect("is still watched");
    /// assert!(child.wait()?.success());
    /// event_loop.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take_child(&mut self, key: ChildKey) -> Option<Child> {
        Some(self.forget_child(key)?.child)
    }

    fn watch_pidfd(
        &mut self,
        child: &Child,
        key: ChildKey,
        location: &'static Location<'static>,
    ) -> io::Result<Key> {
        let pidfd = open_pidfd(child)?;
        let ended = move |event_loop: &mut Self, _: &_, _| {
            event_loop.look_after(key);
            Ok(Next::Keep)
        };
        let watch = Watch::from(Interest::READABLE);
        self.add(pidfd, watch, Some(ended), location, true).map_err(|(error, ..)| error)
    }

    fn watch_sigchld(&mut self) -> io::Result<()> {
        if self.children.sigchld.is_none() {
            let some_child_ended = |event_loop: &mut Self| {
                let watched = event_loop.children.watched.iter();
                let keys: Vec<_> = watched.map(|watched| watched.key).collect();
                keys.into_iter().for_each(|key| event_loop.look_after(key));
            };
            self.children.sigchld = Some(self.on_signal(SIGCHLD, some_child_ended)?);
        }
        Ok(())
    }

    /// Reaps a child if it has ended, and says so.
    fn look_after(&mut self, key: ChildKey) {
        let Some(child) = self.child_mut(key) else { return };
        let result = match child.try_wait() {
            Ok(None) => return,
            Ok(Some(status)) => Ok(status),
            Err(error) => Err(error),
        };
        let Some(Watched { callback, location, .. }) = self.forget_child(key) else { return };
        let watch = self.watchdog.start();
        callback(self, result);
        self.watchdog.check(watch, location, &mut self.stats);
    }

    fn forget_child(&mut self, key: ChildKey) -> Option<Watched<T>> {
        let position = self.children.position(key)?;
        let watched = self.children.watched.swap_remove(position);
        if let Some(pidfd) = watched.pidfd
            && let Err(error) = self.remove_own(pidfd)
        {
            log::debug!("{pidfd}: {error}");
        }
        if self.children.watched.iter().all(|watched| watched.pidfd.is_some())
            && let Some(sigchld) = self.children.sigchld.take()
        {
            self.remove_signal(sigchld);
        }
        Some(watched)
    }
}

#[cfg(target_os = "linux")]
fn open_pidfd(child: &Child) -> io::Result<OwnedFd> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    Ok(pidfd_open(Pid::from_child(child), PidfdFlags::empty())?)
}

#[cfg(not(target_os = "linux"))]
fn open_pidfd(_: &Child) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}
