//! A registration of the loop: its source, its callback, and the return value of the callback.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;
use std::{fmt, io};

use rustix::fd::{AsFd, BorrowedFd};

use super::EventLoop;
#[cfg(feature = "async")]
use crate::asyncio::TaskSource;
use crate::event::Event;
use crate::interest::Interest;
use crate::source::Source;

/// The fate of a registration after its callback.
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
    /// The registration stays as it is.
    Keep,
    /// The registration ends; its source and its callback are dropped.
    Remove,
    /// The interest changes, as by [`EventLoop::modify`].
    Modify(Interest),
}

/// The return value of a callback, in one register.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Keep,
    Remove,
    Modify(Interest),
    /// The error is the [`failure`](EventLoop::failure) of the loop that the callback got.
    Failed,
}

/// A source and its callback without their types.
pub(super) trait HandleEvent<T> {
    fn descriptor(&self) -> BorrowedFd<'_>;
    /// Takes `Rc<Self>` so that source and callback outlive their own removal.
    fn call(self: Rc<Self>, event_loop: &mut EventLoop<T>, event: &Event) -> Answer;
    fn source(&self) -> &dyn Any;
    /// The source alone, if this is its only owner.
    fn into_source(self: Rc<Self>) -> Option<Box<dyn Any>>;
    fn location(&self) -> &'static Location<'static>;
    /// Whether it belongs to the loop itself, and not to the user.
    fn is_own(&self) -> bool {
        false
    }
    /// The tasks' source that it stands for, if it does.
    #[cfg(feature = "async")]
    fn task_source(&self) -> Option<&Rc<dyn TaskSource>> {
        None
    }
}

/// The source type of a loop's selector.
pub(super) struct Handler<T>(pub(super) Rc<dyn HandleEvent<T>>);

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

/// A source and a callback of the user.
pub(super) struct Registered<S, F> {
    pub(super) source: S,
    pub(super) callback: RefCell<F>,
    pub(super) location: &'static Location<'static>,
}

impl<T, S, F> HandleEvent<T> for Registered<S, F>
where
    T: 'static,
    S: Source + 'static,
    F: FnMut(&mut EventLoop<T>, &S, Event) -> io::Result<Next> + 'static,
{
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }

    fn call(self: Rc<Self>, event_loop: &mut EventLoop<T>, event: &Event) -> Answer {
        // Only an iteration of its own loop calls it, and those do not nest.
        let mut callback = self.callback.borrow_mut();
        match (*callback)(event_loop, &self.source, *event) {
            Ok(Next::Keep) => Answer::Keep,
            Ok(Next::Remove) => Answer::Remove,
            Ok(Next::Modify(interest)) => Answer::Modify(interest),
            Err(error) => {
                drop(callback);
                event_loop.fail(error, Handler(self))
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
}
