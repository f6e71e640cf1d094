//! Taking connections from a listener in a selector, also when descriptors run out.

use std::borrow::Borrow;
use std::io;
#[cfg(unix)]
use std::os::fd::AsFd;
#[cfg(windows)]
use std::os::windows::io::AsSocket as AsFd;
use std::time::Duration;

use polyselect::{Events, Interest, Key, Selector, Watch};
use socket2::{SockAddr, Socket};

/// How long a listener rests that can take no connection.
const REST: Duration = Duration::from_millis(100);

/// A listener that rests when the system has no descriptor for another connection. The connection
/// waits on, so the listener would be ready all the time, and the loop would spin.
pub struct Accepting {
    pub listener: Key,
    resting: bool,
}

impl Accepting {
    pub fn from(listener: Key) -> Self {
        Self { listener, resting: false }
    }

    /// Waits as [`Selector::select`] does, but no longer than the listener rests.
    pub fn select<S, D>(
        &mut self,
        sel: &mut Selector<S, D>,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        if !self.resting {
            return sel.select(events, timeout);
        }
        let ready = sel.select(events, Some(timeout.map_or(REST, |timeout| timeout.min(REST))))?;
        // A connection that has closed in the meantime may have made room.
        sel.modify(self.listener, sel[self.listener].interest() | Interest::READABLE)?;
        self.resting = false;
        Ok(ready)
    }

    /// A connection, non-blocking, and who is at its other end; `None` if there is none to take.
    pub fn accept<S: Borrow<Socket>, D>(
        &mut self,
        sel: &mut Selector<S, D>,
    ) -> io::Result<Option<(Socket, SockAddr)>> {
        let accepted = sel[self.listener].source().borrow().accept();
        let accepted = accepted.and_then(|(conn, addr)| {
            conn.set_nonblocking(true)?;
            Ok((conn, addr))
        });
        match accepted {
            Ok(accepted) => Ok(Some(accepted)),
            // The one who called may have gone already.
            Err(error)
                if super::is_not_now(&error)
                    || error.kind() == io::ErrorKind::ConnectionAborted =>
            {
                Ok(None)
            }
            Err(error) => {
                self.rest(sel, &error)?;
                Ok(None)
            }
        }
    }

    /// Watches a connection, or closes it where the system cannot watch another one.
    pub fn register<S: AsFd, D>(
        &mut self,
        sel: &mut Selector<S, D>,
        conn: S,
        watch: impl Into<Watch>,
        data: D,
    ) -> io::Result<()> {
        match sel.register(conn, watch, data) {
            Ok(_) => Ok(()),
            Err(error) => self.rest(sel, error.error()),
        }
    }

    fn rest<S, D>(&mut self, sel: &mut Selector<S, D>, error: &io::Error) -> io::Result<()> {
        log::warn!("no connection can be taken for now: {error}");
        self.resting = true;
        sel.modify(self.listener, sel[self.listener].interest() - Interest::READABLE)
    }
}
