//! Signals as callbacks.
//!
//! The handler that runs inside the signal sets two flags and wakes the selector; everything else happens in
//! the iteration that follows.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::c_int;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::EventLoop;
use super::call_user::{Iteration, Place, Registrant, Replaced};
use super::errors::not_found;
use super::signal_key::SignalKey;
use crate::signal::HandlerOfSignal;
use crate::waker::Waker;

type Callback<T> = Rc<RefCell<dyn FnMut(&mut EventLoop<T>)>>;

/// The reaction to a signal.
enum Action<T> {
    Callback(Callback<T>),
    /// `SIGCHLD` for the loop itself: children without a descriptor are checked.
    #[cfg(unix)]
    LookAtChildren,
}

impl<T> Clone for Action<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Callback(callback) => Self::Callback(Rc::clone(callback)),
            #[cfg(unix)]
            Self::LookAtChildren => Self::LookAtChildren,
        }
    }
}

pub(super) struct SignalHandler<T> {
    key: SignalKey,
    signal: c_int,
    action: Action<T>,
    location: &'static Location<'static>,
}

/// A handler installed in the system, and the flag that it raises.
struct Installed {
    signal: c_int,
    has_come: Arc<AtomicBool>,
    _handler: HandlerOfSignal,
}

pub(super) struct Signals<T> {
    installed: Vec<Installed>,
    handlers: Vec<SignalHandler<T>>,
    /// Whether any of the installed handlers has raised its flag.
    any_has_come: Arc<AtomicBool>,
    /// Handlers whose signal has come and that have not been called.
    due: VecDeque<SignalKey>,
    waker: Waker,
}

impl<T> Signals<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.handlers.is_empty()
    }

    pub(super) fn places(&self) -> impl Iterator<Item = (c_int, &'static Location<'static>)> {
        self.handlers.iter().map(|it| (it.signal, it.location))
    }

    /// Whether handlers are left of an iteration that ended early, by a panic or a replacement of the loop. Its wait
    /// may have taken the wake of a signal that is not collected yet.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty() || self.any_has_come.load(Ordering::Acquire)
    }

    fn install(&mut self, signal: c_int) -> io::Result<()> {
        if self.installed.iter().any(|installed| installed.signal == signal) {
            return Ok(());
        }
        let has_come = Arc::new(AtomicBool::new(false));
        let flags = [Arc::clone(&has_come), Arc::clone(&self.any_has_come)];
        let _handler = HandlerOfSignal::install(signal, flags, self.waker.clone())?;
        self.installed.push(Installed { signal, has_come, _handler });
        Ok(())
    }

    fn remove(&mut self, key: SignalKey) -> Option<SignalHandler<T>> {
        let position = self.handlers.iter().position(|handler| handler.key == key)?;
        let removed = self.handlers.remove(position);
        if self.handlers.iter().all(|handler| handler.signal != removed.signal) {
            self.installed.retain(|installed| installed.signal != removed.signal);
        }
        Some(removed)
    }

    /// Queues the handlers of the signals that have come.
    fn collect(&mut self) {
        if !self.any_has_come.swap(false, Ordering::Acquire) {
            return;
        }
        for installed in &self.installed {
            if installed.has_come.swap(false, Ordering::Acquire) {
                let handlers = self.handlers.iter();
                let called = handlers.filter(|handler| handler.signal == installed.signal);
                self.due.extend(called.map(|handler| handler.key));
            }
        }
    }

    fn next_due(&mut self) -> Option<(SignalKey, Action<T>, &'static Location<'static>)> {
        while let Some(key) = self.due.pop_front() {
            // An earlier callback may have removed it.
            if let Some(handler) = self.handlers.iter().find(|handler| handler.key == key) {
                return Some((key, handler.action.clone(), handler.location));
            }
        }
        None
    }
}

impl<T: 'static> EventLoop<T> {
    /// Calls `callback` in an iteration whenever the process has received `signal`.
    ///
    /// Any number of callbacks may handle the same signal, in any number of loops; they run in the order in which they
    /// were registered. [`signal`](crate::signal) has the numbers.
    ///
    /// A signal that comes again before its callback has run is coalesced with the first. The default action of the
    /// signal no longer happens, not even when the callback has been removed.
    ///
    /// On Windows Ctrl-C is `SIGINT`. The first signal needs a [`Waker`]: a descriptor or two. Does not block.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a number that is not a signal or that cannot be handled (`SIGKILL`, `SIGSTOP`,
    /// and the faults `SIGSEGV`, `SIGILL` and `SIGFPE`); otherwise the errors of
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
    /// event_loop.remove_signal(key)?;
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn on_signal(
        &mut self,
        signal: c_int,
        callback: impl FnMut(&mut Self) + 'static,
    ) -> io::Result<SignalKey> {
        let action = Action::Callback(Rc::new(RefCell::new(callback)));
        self.handle_signal(signal, action, Location::caller())
    }

    /// Checks the children without a descriptor whenever some child has ended.
    #[cfg(unix)]
    pub(super) fn look_at_children_on(
        &mut self,
        signal: c_int,
        location: &'static Location<'static>,
    ) -> io::Result<SignalKey> {
        self.handle_signal(signal, Action::LookAtChildren, location)
    }

    fn handle_signal(
        &mut self,
        signal: c_int,
        action: Action<T>,
        location: &'static Location<'static>,
    ) -> io::Result<SignalKey> {
        let signals = match &mut self.signals {
            Some(signals) => signals,
            none => none.insert(Signals {
                installed: Vec::new(),
                handlers: Vec::new(),
                any_has_come: Arc::default(),
                due: VecDeque::new(),
                waker: self.sources.selector.waker()?,
            }),
        };
        signals.install(signal)?;
        let key = SignalKey::new();
        signals.handlers.push(SignalHandler { key, signal, action, location });
        Ok(key)
    }

    /// Removes a callback of a signal. It is not called again, not even for a signal that has come.
    ///
    /// # Errors
    ///
    /// `NotFound` if the key does not name a callback of this loop, or names a removed one.
    ///
    /// See [`on_signal`](Self::on_signal) for an example.
    pub fn remove_signal(&mut self, key: SignalKey) -> io::Result<()> {
        let removed = self.remove_handler(key).map(drop);
        removed.ok_or_else(|| not_found(format_args!("{key:?} names no callback")))
    }

    pub(super) fn remove_handler(&mut self, key: SignalKey) -> Option<SignalHandler<T>> {
        self.signals.as_mut()?.remove(key)
    }

    #[inline]
    pub(super) fn deliver_signals(&mut self, iteration: &Iteration) -> Result<(), Replaced> {
        if self.signals.is_some() { self.deliver_due_signals(iteration) } else { Ok(()) }
    }

    #[inline(never)]
    fn deliver_due_signals(&mut self, iteration: &Iteration) -> Result<(), Replaced> {
        if let Some(signals) = &mut self.signals {
            signals.collect();
        }
        while let Some((key, action, location)) = self.signals.as_mut().and_then(Signals::next_due)
        {
            match action {
                Action::Callback(callback) => {
                    self.stats.signals += 1;
                    let call = move |event_loop: &mut Self| (callback.borrow_mut())(event_loop);
                    self.call_user(
                        iteration,
                        Registrant::Signal(key),
                        Place::Signal(location),
                        call,
                    )?;
                }
                #[cfg(unix)]
                Action::LookAtChildren => self.children.look_at_all(),
            }
        }
        Ok(())
    }
}
