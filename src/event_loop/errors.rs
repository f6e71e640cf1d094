//! What happens to the errors of callbacks.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use super::EventLoop;
use super::registered::{Answer, Next};
use crate::key::Key;

pub(super) type ErrorHook<T> = Rc<RefCell<dyn FnMut(&mut EventLoop<T>, Key, io::Error)>>;

impl<T: 'static> EventLoop<T> {
    /// Calls `hook` with every error that a callback of a source returns, `WouldBlock` and
    /// `Interrupted` excepted. The registration is gone then, and its key tells which it was, so that
    /// what the program keeps by key can be cleared. Without a hook such errors are logged
    /// (`log::error!`).
    ///
    /// What is called for a connection by [`accept`](Self::accept) reports its errors here too, under
    /// the key of the listener, which stays registered.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use polyselect::{EventLoop, Interest};
    /// use std::{io, os::unix::net::UnixStream};
    ///
    /// let (left, right) = UnixStream::pair()?;
    /// let mut event_loop = EventLoop::new(Vec::new())?;
    /// event_loop.on_error(|event_loop, key, error| event_loop.state.push((key, error.kind())));
    /// let key = event_loop.register(right, Interest::READABLE, |_loop, _right, _event| {
    ///     Err(io::ErrorKind::InvalidData.into())
    /// })?;
    /// drop(left);
    /// event_loop.run()?;
    /// assert_eq!(event_loop.state, [(key, io::ErrorKind::InvalidData)]);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_error(&mut self, hook: impl FnMut(&mut Self, Key, io::Error) + 'static) {
        self.error_hook = Some(Rc::new(RefCell::new(hook)));
    }

    /// Does what a callback asked for.
    #[inline(never)]
    pub(super) fn follow(&mut self, key: Key, answer: Answer) {
        let failure = match answer {
            Answer::Failed => self.failure.take(),
            // It may have removed itself before it said what becomes of it.
            _ if !self.selector.contains(key) => None,
            Answer::Change(Next::Modify(interest)) => self.selector.modify(key, interest).err(),
            Answer::Change(Next::Remove) => {
                drop(self.selector.unregister(key));
                None
            }
            Answer::Keep | Answer::Change(Next::Keep) => None,
        };
        match failure {
            Some(error) if is_no_failure(&error) => {}
            Some(error) => {
                drop(self.selector.unregister(key));
                self.report(key, error);
            }
            None => {}
        }
    }

    pub(super) fn report(&mut self, key: Key, error: io::Error) {
        self.stats.errors += 1;
        let hook = self.error_hook.clone();
        match hook.as_ref().map(|hook| hook.try_borrow_mut()) {
            Some(Ok(mut hook)) => hook(self, key, error),
            // It is running, in a loop that it has put elsewhere; or there is none.
            _ => log::error!("{key}: {error}"),
        }
    }
}

/// Nothing to be done now is what a callback may find after a spurious event.
pub(super) fn is_no_failure(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

pub(super) fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
