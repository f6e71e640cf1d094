//! A mechanism's calls, made in the function of who wants them.
//!
//! On processors that forget where to return to during a long system call, each return past one costs
//! as much as the call's half. So where one call is all there is to it, that call is inlined up to
//! the caller's own loop, and what else there may be to do is found out before or after it.

use std::io;

use super::Mechanism;
use crate::descriptor::Descriptor;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;

impl dyn Mechanism {
    /// [`wait`](Mechanism::wait) without a timeout.
    #[inline(always)]
    pub(crate) fn wait_directly(&mut self, events: &mut Events) -> io::Result<()> {
        #[cfg(epoll)]
        if let Some(epoll) = self.plain_epoll() {
            return Ok(events.fill(|places| rustix::event::epoll::wait(epoll, places, None))?);
        }
        self.wait(events, None)
    }

    /// [`update`](Mechanism::update).
    #[inline(always)]
    pub(crate) fn update_directly(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        #[cfg(epoll)]
        if let Some(epoll) = self.plain_epoll()
            && super::epoll::update_plainly(epoll, descriptor, token, old, new).is_ok()
        {
            return Ok(());
        }
        // It knows what an error means, and what to do about it.
        self.update(descriptor, token, old, new)
    }
}
