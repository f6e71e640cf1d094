//! Accepting connections with a callback.

use std::cell::RefCell;
use std::io;
use std::panic::Location;
use std::rc::Rc;

use super::EventLoop;
use super::call_user::Late;
use super::handler::Next;
use crate::accept::{Batch, Listener, is_exhausted};
use crate::error::RegisterError;
use crate::event::Event;
use crate::interest::{Interest, Watch};
use crate::key::Key;

impl<T: 'static> EventLoop<T> {
    /// Accepts connections from a listener and calls `callback` with each connection, in non-blocking
    /// mode, and its address. The loop owns the listener, and puts it into non-blocking mode.
    ///
    /// - At most 64 connections are accepted in an iteration
    ///   ([`accept_budget`](crate::EventLoopBuilder::accept_budget)); the others come with the next.
    /// - A connection that fails while it is accepted is skipped. An error of the callback goes to
    ///   [`on_error`](Self::on_error), under the key of the listener. Neither stops the listener.
    /// - When descriptors or memory run out, the listener pauses for 100 ms
    ///   ([`accept_rest`](crate::EventLoopBuilder::accept_rest)), with a log line; clients wait in the queue of the
    ///   system meanwhile.
    /// - `modify(key, Interest::empty())` pauses it, also if a connection was reported before in the same iteration;
    ///   `Interest::READABLE` resumes it,
    ///   [`unregister`](Self::unregister) closes it, [`take`](Self::take) returns it.
    ///
    /// # Errors
    ///
    /// Returns a [`RegisterError`], which gives back listener and callback, if the listener cannot be registered or if
    /// the listener cannot be put into non-blocking mode.
    ///
    /// See [`EventLoop`] for an example.
    #[track_caller]
    pub fn accept<L, F>(&mut self, listener: L, callback: F) -> Result<Key, RegisterError<L, F>>
    where
        L: Listener + 'static,
        F: FnMut(&mut Self, L::Connection, L::Address) -> io::Result<()> + 'static,
    {
        if let Err(error) = listener.set_nonblocking() {
            return Err(RegisterError::new(error, listener, callback));
        }
        // A second owner, so that an error can return the callback.
        let callback = Rc::new(RefCell::new(callback));
        let accept = {
            let callback = Rc::clone(&callback);
            move |event_loop: &mut Self, listener: &L, event: Event| {
                let mut callback = callback.borrow_mut();
                event_loop.accept_batch(event.key, listener, &mut *callback)
            }
        };
        let watch = Watch::from(Interest::READABLE);
        self.add(listener, watch, accept, Location::caller()).map_err(
            |(error, listener, accept)| {
                drop(accept);
                let callback = Rc::into_inner(callback).expect("its other owner has been dropped");
                RegisterError::new(error, listener, callback.into_inner())
            },
        )
    }

    fn accept_batch<L: Listener>(
        &mut self,
        key: Key,
        listener: &L,
        callback: &mut impl FnMut(&mut Self, L::Connection, L::Address) -> io::Result<()>,
    ) -> io::Result<Next> {
        let mut batch = Batch::with_limit(self.accept_budget);
        let progress = Rc::clone(&self.progress);
        loop {
            match batch.next(|| listener.accept()) {
                Ok(Some((conn, addr))) => {
                    let result = callback(self, conn, addr);
                    if !Rc::ptr_eq(&progress, &self.progress) {
                        // The callback has replaced its loop.
                        if let Err(error) = result {
                            progress.leave(Late::Error(key, error));
                        }
                        return Ok(Next::Keep);
                    }
                    if let Err(error) = result {
                        self.report(key, None, error);
                    }
                    let interest = self.sources().interest(key);
                    if !interest.is_some_and(|interest| interest.contains(Interest::READABLE)) {
                        return Ok(Next::Keep); // The callback has paused or closed the listener.
                    }
                }
                Ok(None) => return Ok(Next::Keep),
                Err(error) if is_exhausted(&error) => {
                    self.rest(key, &error);
                    return Ok(Next::Modify(Interest::empty()));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn rest(&mut self, key: Key, error: &io::Error) {
        let rest = self.accept_rest;
        self.resting.push(key);
        self.call_later(rest, move |event_loop| {
            // A listener that was paused or resumed meanwhile stays so.
            let place = event_loop.resting.iter().position(|&resting| resting == key);
            let Some(place) = place else { return };
            event_loop.resting.swap_remove(place);
            if event_loop.contains(key)
                && let Err(error) = event_loop.modify(key, Interest::READABLE)
            {
                event_loop.report(key, None, error);
            }
        });
        log::warn!("{key}: no connection is accepted for {rest:?}: {error}");
    }
}
