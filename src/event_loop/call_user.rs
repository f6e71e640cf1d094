//! The only place where the loop calls user code.
//!
//! Callbacks, timers, calls, the error hook, polls of tasks, wakers, and destructors of what the loop drops run in
//! [`EventLoop::call_user`]. While they run, nothing of the loop is borrowed, and every batch (events, due timers and
//! signals, calls, woken tasks, requests) is in the loop itself, behind a cursor. So user code may do anything:
//!
//! - it may panic: [`Registrant`] names the registration that ends, the panic passes through
//!   [`EventLoop::turn`], and the rest of each batch is delivered in the next iteration;
//! - it may be slow: the watchdog reports it;
//! - it may replace the loop that called it: the iteration ends with [`Replaced`], and the return value for the old
//!   loop waits in its [`Progress`], which moves with it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::{fmt, io};

use super::EventLoop;
use super::handler::Answer;
use super::signal_key::SignalKey;
use crate::key::Key;
use crate::timer::TimerKey;

/// The registration that ends if its code panics.
#[derive(Clone, Copy)]
pub(super) enum Registrant {
    /// None: the code runs once, and its registration has ended before.
    Nothing,
    Source(Key),
    Timer(TimerKey),
    Signal(SignalKey),
}

/// The kind of user code, and where it was registered: for the log.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Source(&'static Location<'static>),
    Signal(&'static Location<'static>),
    Child(&'static Location<'static>),
    Timer(&'static Location<'static>),
    Call(&'static Location<'static>),
    Destructor(&'static Location<'static>),
    ErrorHook,
    #[cfg(feature = "async")]
    Task(&'static Location<'static>),
    #[cfg(feature = "async")]
    MainFuture,
    /// A waker, or code of a tasks' source when it is registered or dropped.
    #[cfg(feature = "async")]
    Unknown,
}

impl Place {
    fn parts(&self) -> (&'static str, Option<&'static Location<'static>>) {
        match *self {
            Self::Source(place) => ("the callback registered at", Some(place)),
            Self::Signal(place) => ("the callback of a signal registered at", Some(place)),
            Self::Child(place) => ("the callback of a child registered at", Some(place)),
            Self::Timer(place) => ("the timer set at", Some(place)),
            Self::Call(place) => ("the call queued at", Some(place)),
            Self::Destructor(place) => ("a destructor of what was registered at", Some(place)),
            Self::ErrorHook => ("the hook for errors", None),
            #[cfg(feature = "async")]
            Self::Task(place) => ("the task spawned at", Some(place)),
            #[cfg(feature = "async")]
            Self::MainFuture => ("the future of block_on", None),
            #[cfg(feature = "async")]
            Self::Unknown => ("a waker or a source of tasks", None),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (what, Some(place)) => write!(f, "{what} {place}"),
            (what, None) => f.write_str(what),
        }
    }
}

/// User code has replaced the loop that called it. Holds the return value of the code.
pub(super) struct Replaced<R = ()>(pub(super) R);

/// The end of a callback that moved its loop elsewhere: owed to that loop.
pub(super) enum Late {
    Answer(Key, Answer, Option<io::Error>),
    /// An error that its hook has not been called for.
    Error(Key, io::Error),
    Ended(Registrant),
}

/// The part of a loop that an iteration can reach even if the loop has been moved.
#[derive(Default)]
pub(super) struct Progress {
    is_running: Cell<bool>,
    late: RefCell<VecDeque<Late>>,
    has_late: Cell<bool>,
    /// A panic of the logger while a call was logged. The call did not cause it, so the iteration continues before the
    /// panic passes through.
    of_logger: Cell<Option<Box<dyn Any + Send>>>,
}

impl Progress {
    #[inline(always)]
    pub(super) fn has_late(&self) -> bool {
        self.has_late.get()
    }

    pub(super) fn next_late(&self) -> Option<Late> {
        let late = self.late.borrow_mut().pop_front();
        self.has_late.set(late.is_some());
        late
    }

    pub(super) fn leave(&self, late: Late) {
        self.late.borrow_mut().push_back(late);
        self.has_late.set(true);
    }

    /// Fails while an iteration is in progress.
    #[inline]
    pub(super) fn check_idle(&self) -> io::Result<()> {
        if self.is_running.get() { Err(in_progress()) } else { Ok(()) }
    }
}

#[cold]
fn in_progress() -> io::Error {
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        "an iteration of this event loop is in progress, and a callback cannot run another; use call_soon for \
         what should happen next",
    )
}

/// An iteration in progress. It ends when this is dropped, also by a panic.
pub(super) struct Iteration {
    progress: Rc<Progress>,
    /// Whether calls are measured or traced.
    pub(super) is_observed: bool,
}

impl Iteration {
    #[inline]
    pub(super) fn begin<T>(event_loop: &EventLoop<T>) -> io::Result<Self> {
        let progress = &event_loop.progress;
        progress.check_idle()?;
        progress.is_running.set(true);
        let is_measured = event_loop.slow_callback_threshold.is_some();
        let is_observed = is_measured
            || event_loop.timers.clock().is_in_lab()
            || log::max_level() >= log::LevelFilter::Trace;
        Ok(Self { progress: Rc::clone(progress), is_observed })
    }

    #[inline]
    pub(super) fn is_of<T>(&self, event_loop: &EventLoop<T>) -> bool {
        Rc::ptr_eq(&self.progress, &event_loop.progress)
    }

    /// Lets a panic of the logger pass through, when it can no longer lose work.
    #[inline]
    pub(super) fn finish(&self) {
        if self.is_observed
            && let Some(panic) = self.progress.of_logger.take()
        {
            resume_unwind(panic);
        }
    }

    #[cold]
    pub(super) fn log(&self, log: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(log)) {
            self.progress.of_logger.set(Some(panic));
        }
    }

    /// Leaves a value for the loop of this iteration, which was moved.
    #[cold]
    pub(super) fn leave(&self, late: Late) {
        self.progress.leave(late);
    }
}

impl Drop for Iteration {
    #[inline(always)]
    fn drop(&mut self) {
        self.progress.is_running.set(false);
    }
}

impl<T: 'static> EventLoop<T> {
    /// Runs user code.
    #[inline]
    pub(super) fn call_user<R>(
        &mut self,
        iteration: &Iteration,
        registrant: Registrant,
        place: Place,
        code: impl FnOnce(&mut Self) -> R,
    ) -> Result<R, Replaced<R>> {
        self.timers.forget_the_time();
        let result = if iteration.is_observed {
            self.call_observed(iteration, registrant, place, code)
        } else {
            self.call_guarded(iteration, || registrant, code)
        };
        if iteration.is_of(self) { Ok(result) } else { Err(Replaced(result)) }
    }

    /// Runs user code of a source: [`call_user`](Self::call_user) without the steps that events do not need.
    #[inline(always)]
    pub(super) fn call_guarded<R>(
        &mut self,
        iteration: &Iteration,
        registrant: impl FnOnce() -> Registrant,
        code: impl FnOnce(&mut Self) -> R,
    ) -> R {
        match catch_unwind(AssertUnwindSafe(|| code(self))) {
            Ok(result) => result,
            Err(panic) => self.after_panic(iteration, registrant(), panic),
        }
    }

    /// Runs user code that is measured or traced.
    #[cold]
    #[inline(never)]
    pub(super) fn call_observed<R>(
        &mut self,
        iteration: &Iteration,
        registrant: Registrant,
        place: Place,
        code: impl FnOnce(&mut Self) -> R,
    ) -> R {
        iteration.log(|| log::trace!("calling {place}"));
        let threshold = self.slow_callback_threshold;
        let clock = self.timers.clock().clone();
        let (what, location) = place.parts();
        clock.note_call(what, location);
        let start = clock.now();
        let result = self.call_guarded(iteration, || registrant, code);
        let taken = clock.now().saturating_duration_since(start);
        let is_slow = threshold.is_some_and(|threshold| taken > threshold);
        if is_slow {
            iteration.log(|| log::warn!("{place} held the loop for {taken:?}"));
        }
        if iteration.is_of(self) {
            self.stats.slow_callbacks += u64::from(is_slow);
        }
        result
    }

    /// Ends the registration whose code panicked, and lets the panic pass.
    #[cold]
    #[inline(never)]
    fn after_panic(
        &mut self,
        iteration: &Iteration,
        registrant: Registrant,
        panic: Box<dyn Any + Send>,
    ) -> ! {
        if iteration.is_of(self) {
            self.end(registrant);
        } else {
            iteration.leave(Late::Ended(registrant));
        }
        resume_unwind(panic)
    }

    /// Ends a registration whose code has panicked.
    pub(super) fn end(&mut self, registrant: Registrant) {
        let removed: Option<Box<dyn Any>> = match registrant {
            Registrant::Nothing => None,
            Registrant::Source(key) => {
                self.sources.remove(key).ok().map(|removed| Box::new(removed) as _)
            }
            Registrant::Timer(key) => self.timers.remove(key).map(|removed| Box::new(removed) as _),
            Registrant::Signal(key) => {
                self.remove_handler(key).map(|removed| Box::new(removed) as _)
            }
        };
        // The callback's panic passes through, so a second one can only be logged.
        if catch_unwind(AssertUnwindSafe(|| drop(removed))).is_err() {
            log::error!("what a callback that panicked owned has panicked too when it was dropped");
        }
    }
}
