//! Signals: each callback runs after its signal, and not without one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use polyselect::{SignalKey, signal};

use super::world::{Loop, World, panic_as_planned, pick};

#[cfg(unix)]
const SIGNALS: [i32; 2] = [signal::SIGUSR1, signal::SIGUSR2];
#[cfg(windows)]
const SIGNALS: [i32; 2] = [signal::SIGINT, signal::SIGTERM];

const MOST_HANDLERS: usize = 4;

struct Handler {
    id: usize,
    signal: i32,
    key: Cell<Option<SignalKey>>,
    /// The iteration in which its signal arrived.
    owed: Cell<Option<u64>>,
}

#[derive(Default)]
pub struct Signals {
    handlers: RefCell<Vec<Rc<Handler>>>,
    /// The iterations in which the signals arrived last; until the next one ends, handlers may be
    /// called.
    came: [Cell<Option<u64>>; SIGNALS.len()],
}

impl Signals {
    pub fn are_owed(&self) -> bool {
        self.handlers.borrow().iter().any(|handler| handler.owed.get().is_some())
    }
}

impl World {
    pub fn on_signal(self: &Rc<Self>, which: usize, event_loop: &mut Loop) {
        if self.signals.handlers.borrow().len() >= MOST_HANDLERS {
            return;
        }
        let signal = SIGNALS[which % SIGNALS.len()];
        let handler = Rc::new(Handler {
            id: self.new_id(),
            signal,
            key: Cell::new(None),
            owed: Cell::new(None),
        });
        let (world, this) = (Rc::clone(self), Rc::clone(&handler));
        let key = event_loop.on_signal(signal, move |event_loop| {
            let (id, is_known) = (this.id, this.key.get().is_some());
            world.check(is_known, || format!("signal handler {id} is called after its end"));
            let has_come = world.signals.came[which % SIGNALS.len()].get().is_some();
            world.check(has_come, || format!("signal handler {id} is called without a signal"));
            this.owed.set(None);
            if world.act(Some(event_loop)) {
                world.forget_handler(&this);
                panic_as_planned();
            }
        });
        handler.key.set(Some(key.expect("is handled")));
        self.signals.handlers.borrow_mut().push(handler);
    }

    fn forget_handler(&self, handler: &Rc<Handler>) -> Option<SignalKey> {
        self.signals.handlers.borrow_mut().retain(|other| !Rc::ptr_eq(other, handler));
        handler.key.take()
    }

    pub fn remove_signal(&self, which: usize, event_loop: &mut Loop) {
        let handler = {
            let handlers = self.signals.handlers.borrow();
            pick(which, handlers.len()).map(|position| Rc::clone(&handlers[position]))
        };
        let Some(handler) = handler else { return };
        let key = self.forget_handler(&handler).expect("is known");
        let result = event_loop.remove_signal(key);
        self.check(result.is_ok(), || format!("signal handler {}: {result:?}", handler.id));
    }

    pub fn end_signals(&self, event_loop: &mut Loop) {
        while !self.signals.handlers.borrow().is_empty() {
            self.remove_signal(0, event_loop);
        }
    }

    /// Sends a signal to this thread, if it is handled.
    pub fn raise(&self, which: usize) {
        // Wine's C runtime calls an address that is not a function after the handler.
        if cfg!(windows) {
            return;
        }
        let signal = SIGNALS[which % SIGNALS.len()];
        let handlers = self.signals.handlers.borrow();
        let mut is_handled = false;
        for handler in handlers.iter().filter(|handler| handler.signal == signal) {
            is_handled = true;
            handler.owed.set(handler.owed.get().or(Some(self.turn.get())));
        }
        if is_handled {
            self.signals.came[which % SIGNALS.len()].set(Some(self.turn.get()));
            signal_hook::low_level::raise(signal).expect("is raised");
        }
    }

    /// Checks the signals after an iteration that ended normally.
    pub fn check_signals(&self) {
        for handler in self.signals.handlers.borrow().iter() {
            let is_late = handler.owed.get().is_some_and(|turn| turn < self.turn.get());
            self.check(!is_late, || format!("signal handler {} has not been called", handler.id));
        }
        for came in &self.signals.came {
            came.set(came.get().filter(|&turn| turn >= self.turn.get()));
        }
    }
}
