//! Applies the return value of a callback, and passes on its errors.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::{fmt, io};

use super::EventLoop;
use super::call_user::{Iteration, Late, Place, Registrant, Replaced};
use super::handler::{Answer, Handler};
use crate::key::Key;

pub(super) type ErrorHook<T> = Rc<RefCell<dyn FnMut(&mut EventLoop<T>, Key, io::Error)>>;

impl<T: 'static> EventLoop<T> {
    /// Calls `hook` with every error that a callback of a source returns, except `WouldBlock` and
    /// `Interrupted`.
    ///
    /// The registration has ended by then; its key identifies it, so that the program can clear its state
    /// of that key. Without a hook such errors are logged with the place of the registration: by `log::warn!` if the
    /// peer has ended the connection (`ConnectionReset`, `ConnectionAborted`, `BrokenPipe`), otherwise by `log::error!`.
    ///
    /// An error of [`accept`](Self::accept)'s callback is reported here too, under the key of the listener,
    /// which stays registered.
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

    /// Keeps the error of a callback that is returning, for [`follow`](Self::follow); `handler` is dropped when the
    /// error has been reported.
    #[cold]
    #[inline(never)]
    pub(super) fn fail(&mut self, error: io::Error, handler: Handler<T>) -> Answer {
        self.failure = Some((error, handler));
        Answer::Failed
    }

    /// Applies the return value of a callback of a source, or leaves it to its loop if the callback replaced that.
    #[inline(never)]
    pub(super) fn follow(
        &mut self,
        iteration: &Iteration,
        key: Key,
        answer: Answer,
    ) -> Result<(), Replaced> {
        let (failure, handler) = self.failure.take().unzip();
        if iteration.is_of(self) {
            self.follow_answer(iteration, key, answer, failure, handler)
        } else {
            iteration.leave(Late::Answer(key, answer, failure));
            Err(Replaced(()))
        }
    }

    pub(super) fn follow_answer(
        &mut self,
        iteration: &Iteration,
        key: Key,
        answer: Answer,
        failure: Option<io::Error>,
        handler: Option<Handler<T>>,
    ) -> Result<(), Replaced> {
        let failure = match answer {
            Answer::Keep => return Ok(()),
            Answer::Failed if failure.as_ref().is_none_or(is_no_failure) => return Ok(()),
            Answer::Failed => failure,
            // The callback may have removed itself before it returned.
            _ if !self.contains(key) => return Ok(()),
            Answer::Remove => None,
            Answer::Modify(interest) => match self.sources.selector.modify(key, interest) {
                Ok(()) => return Ok(()),
                Err(error) => Some(error),
            },
        };
        self.end_source(iteration, key, failure, handler)
    }

    /// Ends a registration, drops what it owned, and reports why it failed, if it did.
    fn end_source(
        &mut self,
        iteration: &Iteration,
        key: Key,
        failure: Option<io::Error>,
        handler: Option<Handler<T>>,
    ) -> Result<(), Replaced> {
        let (mut dropped, mut location) = (Ok(()), None);
        // If the callback ended its own registration, this is the last owner.
        let handler =
            self.sources.remove(key).map(|removed| removed.into_parts().0).ok().or(handler);
        if let Some(handler) = handler {
            location = Some(handler.0.location());
            let place = Place::Destructor(handler.0.location());
            let drop_it = |_: &mut Self| catch_unwind(AssertUnwindSafe(|| drop(handler)));
            dropped = match self.call_user(iteration, Registrant::Nothing, place, drop_it) {
                Ok(dropped) | Err(Replaced(dropped)) => dropped,
            };
        }
        let mut reported = Ok(());
        if let Some(error) = failure {
            let report = |event_loop: &mut Self| event_loop.report(key, location, error);
            reported = self.call_user(iteration, Registrant::Nothing, Place::ErrorHook, report);
        }
        // A panic of a destructor passes through when the error has been reported.
        match dropped {
            Ok(()) => reported,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Calls the hook. This is user code: it runs inside [`call_user`](Self::call_user). `location` is the place of a
    /// registration that has ended.
    pub(super) fn report(
        &mut self,
        key: Key,
        location: Option<&'static Location<'static>>,
        error: io::Error,
    ) {
        self.stats.errors += 1;
        let hook = self.error_hook.clone();
        match hook.as_ref().map(|hook| hook.try_borrow_mut()) {
            Some(Ok(mut hook)) => hook(self, key, error),
            _ => {
                let registration = self.sources.selector.get(key);
                let location = location.or_else(|| Some(registration?.source().0.location()));
                log_failure(key, location, &error);
            }
        }
    }
}

/// `WouldBlock` after a spurious event is not a failure, and `Interrupted` does not concern the source.
fn is_no_failure(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cold]
fn log_failure(key: Key, location: Option<&'static Location<'static>>, error: &io::Error) {
    let level = if is_end_by_peer(error) { log::Level::Warn } else { log::Level::Error };
    match location {
        Some(place) => log::log!(level, "the callback registered at {place} ({key}): {error}"),
        None => log::log!(level, "the callback of {key}: {error}"),
    }
}

/// Whether the peer has ended the connection: the program did not cause this.
fn is_end_by_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe)
}

pub(super) fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// The error for a stale key of a timer, signal or child; sources have their own.
#[cold]
pub(super) fn not_found(what: fmt::Arguments<'_>) -> io::Error {
    let message =
        format!("{what} of this event loop: it has ended, was removed, or belongs to another loop");
    io::Error::new(io::ErrorKind::NotFound, message)
}
