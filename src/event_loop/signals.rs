//! Signals as callbacks.
//!
//! What runs inside the signal raises two flags and wakes the selector; everything else happens in
//! the turn that follows.

#![allow(unsafe_code)] // A handler must do nothing that is not safe inside a signal.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::c_int;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{io, mem};

use signal_hook::{SigId, consts, low_level};

use super::EventLoop;
use super::errors::invalid;
use super::registered::OnPanic;
use crate::waker::Waker;

/// Names a callback of a signal: what [`EventLoop::on_signal`] returns and
/// [`EventLoop::remove_signal`] takes. It never names another.
///
/// See [`EventLoop::on_signal`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SignalKey(u64);

type Callback<T> = dyn FnMut(&mut EventLoop<T>);

struct Watched<T> {
    key: SignalKey,
    signal: c_int,
    callback: Rc<RefCell<Callback<T>>>,
    location: &'static Location<'static>,
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self { callback: Rc::clone(&self.callback), ..*self }
    }
}

/// A signal's handler in the system, and the flag that it raises.
struct Handler {
    signal: c_int,
    id: SigId,
    came: Arc<AtomicBool>,
}

impl Drop for Handler {
    fn drop(&mut self) {
        low_level::unregister(self.id);
    }
}

pub(super) struct Signals<T> {
    handlers: Vec<Handler>,
    watched: Vec<Watched<T>>,
    /// Whether any of the handlers has raised its flag.
    any_came: Arc<AtomicBool>,
    /// Those whose signal came and who have not been called.
    due: VecDeque<SignalKey>,
    waker: Waker,
}

impl<T> Signals<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Whether callbacks are left of a turn that panicked.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    fn handle(&mut self, signal: c_int) -> io::Result<()> {
        if self.handlers.iter().any(|handler| handler.signal == signal) {
            return Ok(());
        }
        if consts::FORBIDDEN.contains(&signal) {
            return Err(invalid(format!("signal {signal} cannot be handled by a callback")));
        }
        let came = Arc::new(AtomicBool::new(false));
        let raise = {
            let (came, any_came) = (Arc::clone(&came), Arc::clone(&self.any_came));
            let waker = self.waker.clone();
            move || {
                came.store(true, Ordering::Release);
                any_came.store(true, Ordering::Release);
                // A failure leaves the flags up for the next turn, and there is nobody to tell.
                let _ = waker.wake();
            }
        };
        // SAFETY: it stores to atomics and writes to a descriptor by a system call, which are safe
        // inside a signal; no lock, no allocation, and no panic. The registry restores `errno`.
        let id = unsafe { low_level::register(signal, raise) }.map_err(|error| {
            io::Error::new(error.kind(), format!("signal {signal} cannot be handled: {error}"))
        })?;
        self.handlers.push(Handler { signal, id, came });
        Ok(())
    }

    fn remove(&mut self, key: SignalKey) -> bool {
        let Some(position) = self.watched.iter().position(|watched| watched.key == key) else {
            return false;
        };
        let signal = self.watched.remove(position).signal;
        if self.watched.iter().all(|watched| watched.signal != signal) {
            self.handlers.retain(|handler| handler.signal != signal);
        }
        true
    }

    /// Queues the callbacks of the signals that came.
    fn collect(&mut self) {
        if !self.any_came.swap(false, Ordering::Acquire) {
            return;
        }
        for handler in &self.handlers {
            if handler.came.swap(false, Ordering::Acquire) {
                let signal = handler.signal;
                let called = self.watched.iter().filter(|watched| watched.signal == signal);
                self.due.extend(called.map(|watched| watched.key));
            }
        }
    }

    fn next_due(&mut self) -> Option<Watched<T>> {
        while let Some(key) = self.due.pop_front() {
            // An earlier callback may have removed it.
            if let Some(watched) = self.watched.iter().find(|watched| watched.key == key) {
                return Some(watched.clone());
            }
        }
        None
    }
}

impl<T: 'static> EventLoop<T> {
    /// Calls `callback` in a turn whenever the process has got this signal. Any number of callbacks
    /// may watch the same signal, in any number of loops; they run in the order in which they were
    /// registered. [`signal`](crate::signal) has the numbers.
    ///
    /// A signal that comes again before its callback has run is one with the first. What the signal
    /// does by default it does no more, also when the callback has been removed.
    ///
    /// On Windows Ctrl-C is `SIGINT`. The first signal asks for a [`Waker`]: a descriptor or two.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a number that is no signal or that cannot be handled (`SIGKILL`, `SIGSTOP`,
    /// and the faults `SIGSEGV`, `SIGILL` and `SIGFPE`); and as
    /// [`Selector::waker`](crate::Selector::waker).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use polyselect::{EventLoop, signal};
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// let key = event_loop.on_signal(signal::SIGTERM, |event_loop| event_loop.stop())?;
    /// # event_loop.call_soon(|_| signal_hook::low_level::raise(signal::SIGTERM).unwrap());
    /// event_loop.run()?;
    /// assert!(event_loop.remove_signal(key));
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn on_signal(
        &mut self,
        signal: c_int,
        callback: impl FnMut(&mut Self) + 'static,
    ) -> io::Result<SignalKey> {
        static KEYS: AtomicU64 = AtomicU64::new(0);

        let location = Location::caller();
        let signals = match &mut self.signals {
            Some(signals) => signals,
            none => none.insert(Signals {
                handlers: Vec::new(),
                watched: Vec::new(),
                any_came: Arc::default(),
                due: VecDeque::new(),
                waker: self.selector.waker()?,
            }),
        };
        signals.handle(signal)?;
        let key = SignalKey(KEYS.fetch_add(1, Ordering::Relaxed));
        let callback = Rc::new(RefCell::new(callback));
        signals.watched.push(Watched { key, signal, callback, location });
        Ok(key)
    }

    /// Removes a callback of a signal, and says whether there was one.
    ///
    /// See [`on_signal`](Self::on_signal) for an example.
    pub fn remove_signal(&mut self, key: SignalKey) -> bool {
        self.signals.as_mut().is_some_and(|signals| signals.remove(key))
    }

    #[inline]
    pub(super) fn deliver_signals(&mut self) {
        if self.signals.is_some() {
            self.deliver_due_signals();
        }
    }

    #[inline(never)]
    fn deliver_due_signals(&mut self) {
        if let Some(signals) = &mut self.signals {
            signals.collect();
        }
        while let Some(watched) = self.signals.as_mut().and_then(Signals::next_due) {
            self.stats.signals += 1;
            log::trace!(
                "signal {} for the callback registered at {}",
                watched.signal,
                watched.location
            );
            let watch = self.watchdog.start();
            let key = watched.key;
            let guard = OnPanic::new(self, |event_loop| {
                event_loop.remove_signal(key);
            });
            // It fails for one that is running, in a loop that it has put elsewhere.
            if let Ok(mut callback) = watched.callback.try_borrow_mut() {
                callback(guard.event_loop);
            }
            mem::forget(guard);
            self.watchdog.check(watch, watched.location, &mut self.stats);
        }
    }
}
