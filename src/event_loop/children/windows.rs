//! The end of a child on Windows: a thread of the system waits for its handle and wakes the loop, which then
//! looks at every watched child.

use std::io;
use std::panic::Location;
use std::process::Child;
use std::sync::Arc;

use super::ChildKey;
use crate::child::{AnyEnd, EndWait};
use crate::event_loop::EventLoop;
use crate::event_loop::call_user::Registrant;

/// The wait for the end of a child.
pub(super) struct Watch {
    _wait: EndWait<AnyEnd>,
}

/// Whether some child has ended; there from the first child on.
pub(super) type Common = Option<Arc<AnyEnd>>;

#[allow(clippy::unused_self)] // As on Unix.
impl Watch {
    /// Whether the child has to be looked at when some child has ended.
    pub(super) fn is_common(&self) -> bool {
        true
    }

    pub(super) fn registrant(&self) -> Registrant {
        Registrant::Nothing
    }
}

impl<T: 'static> EventLoop<T> {
    pub(super) fn watch_end(
        &mut self,
        child: &Child,
        _: ChildKey,
        _: &'static Location<'static>,
    ) -> io::Result<Watch> {
        let any_end = match &self.children.common {
            Some(any_end) => any_end,
            None => {
                let waker = self.sources.selector.waker()?;
                self.children.common.insert(Arc::new(AnyEnd::new(waker)))
            }
        };
        Ok(Watch { _wait: EndWait::begin(child, any_end)? })
    }

    /// Looks at the children if one has ended.
    #[inline]
    pub(in crate::event_loop) fn notice_ends(&mut self) {
        if self.children.common.as_ref().is_some_and(|any_end| any_end.take()) {
            self.children.look_at_all();
        }
    }

    /// Ends the wait for a child that is no longer watched.
    #[allow(clippy::unused_self)] // As on Unix.
    pub(super) fn forget_watch(&mut self, watch: Watch) {
        drop(watch);
    }

    #[allow(clippy::unused_self)] // As on Unix.
    pub(super) fn forget_common(&mut self) {}
}
