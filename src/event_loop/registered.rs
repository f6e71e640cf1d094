//! A registration of the loop: its source, its callback, and what the callback asks for.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;
use std::{fmt, io};

use rustix::fd::{AsFd, BorrowedFd};

use super::EventLoop;
#[cfg(feature = "async")]
use crate::asyncio::Watched;
use crate::event::Event;
use crate::interest::Interest;

/// What becomes of a registration after its callback.
///
/// ```
/// use polyselect::{Interest, Next};
///
/// let all_sent = true;
/// let next = Next::Modify(if all_sent { Interest::READABLE } else { Interest::WRITABLE });
/// assert_eq!(next, Next::Modify(Interest::READABLE));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// It stays as it is.
    Keep,
    /// It ends, and source and callback are dropped.
    Remove,
    /// From now on this is asked for; as [`EventLoop::modify`].
    Modify(Interest),
}

/// What a callback returned, in the space of a register.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Keep,
    Change(Next),
    /// The error is the loop's [`failure`](EventLoop::failure).
    Failed,
}

/// A registration without its types.
pub(super) trait Registration<T> {
    fn descriptor(&self) -> BorrowedFd<'_>;
    /// Takes an owner, who keeps alive what the callback stands on should it remove itself.
    fn call(self: Rc<Self>, event_loop: &mut EventLoop<T>, event: &Event) -> Answer;
    fn source(&self) -> &dyn Any;
    /// The source alone, if nobody else holds this.
    fn into_source(self: Rc<Self>) -> Option<Box<dyn Any>>;
    fn location(&self) -> &'static Location<'static>;
    /// Whether it serves the loop itself, and is none of the user's.
    fn is_own(&self) -> bool;
    /// The coroutines' source that it stands for, if it does.
    #[cfg(feature = "async")]
    fn watched(&self) -> Option<&Rc<dyn Watched>> {
        None
    }
}

/// What the selector of a loop owns as its source.
pub(super) struct Handler<T>(pub(super) Rc<dyn Registration<T>>);

impl<T> Handler<T> {
    pub(super) fn source<S: 'static>(&self) -> Option<&S> {
        self.0.source().downcast_ref()
    }

    pub(super) fn has_source(&self, source: TypeId) -> bool {
        self.0.source().type_id() == source
    }
}

impl<T> Clone for Handler<T> {
    #[inline]
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

#[cfg(unix)]
impl<T> AsFd for Handler<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.descriptor()
    }
}

#[cfg(windows)]
impl<T> std::os::windows::io::AsSocket for Handler<T> {
    fn as_socket(&self) -> BorrowedFd<'_> {
        self.0.descriptor()
    }
}

impl<T> fmt::Debug for Handler<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "registered at {}", self.0.location())
    }
}

pub(super) struct Registered<S, F> {
    pub(super) source: S,
    /// `None` while the callback is being made.
    pub(super) callback: RefCell<Option<F>>,
    pub(super) location: &'static Location<'static>,
    pub(super) is_own: bool,
}

impl<T, S, F> Registration<T> for Registered<S, F>
where
    T: 'static,
    S: AsFd + 'static,
    F: FnMut(&mut EventLoop<T>, &S, Event) -> io::Result<Next> + 'static,
{
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }

    fn call(self: Rc<Self>, event_loop: &mut EventLoop<T>, event: &Event) -> Answer {
        let result = match self.callback.try_borrow_mut().as_deref_mut() {
            Ok(Some(callback)) => callback(event_loop, &self.source, *event),
            // What should have made the callback panicked.
            Ok(None) => Ok(Next::Remove),
            // It is running, in a loop that it has put elsewhere.
            Err(_) => Ok(Next::Keep),
        };
        match result {
            Ok(Next::Keep) => Answer::Keep,
            Ok(next) => Answer::Change(next),
            Err(error) => {
                event_loop.failure = Some(error);
                Answer::Failed
            }
        }
    }

    fn source(&self) -> &dyn Any {
        &self.source
    }

    fn into_source(self: Rc<Self>) -> Option<Box<dyn Any>> {
        let this = Rc::into_inner(self)?;
        Some(Box::new(this.source))
    }

    fn location(&self) -> &'static Location<'static> {
        self.location
    }

    fn is_own(&self) -> bool {
        self.is_own
    }
}

/// Lends the loop to a callback, and undoes something if that panics; forgotten if it does not.
pub(super) struct OnPanic<'a, T: 'static, U: FnMut(&mut EventLoop<T>)> {
    pub(super) event_loop: &'a mut EventLoop<T>,
    undo: U,
}

impl<'a, T: 'static, U: FnMut(&mut EventLoop<T>)> OnPanic<'a, T, U> {
    #[inline]
    pub(super) fn new(event_loop: &'a mut EventLoop<T>, undo: U) -> Self {
        Self { event_loop, undo }
    }
}

impl<T: 'static, U: FnMut(&mut EventLoop<T>)> Drop for OnPanic<'_, T, U> {
    #[cold]
    fn drop(&mut self) {
        (self.undo)(self.event_loop);
    }
}
