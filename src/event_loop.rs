//! [`EventLoop`]: callbacks on a selector, and the order of a turn.

mod accept;
mod calls;
#[cfg(unix)]
mod children;
mod clock;
#[cfg(feature = "async")]
mod coroutines;
mod errors;
mod mechanism;
mod registered;
mod remote;
mod signals;
mod sources;
mod stats;
mod timers;
mod wheel;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use std::{fmt, io, mem};

use crate::backend::Backend;
use crate::event::{Event, Events};
use crate::key::Key;
use crate::selector::Selector;
use calls::Calls;
#[cfg(unix)]
pub use children::ChildKey;
#[cfg(unix)]
use children::Children;
#[cfg(feature = "async")]
use coroutines::Coroutines;
use errors::ErrorHook;
pub use registered::Next;
use registered::{Answer, Handler, OnPanic};
use remote::Mailbox;
pub use remote::Remote;
pub use signals::SignalKey;
use signals::Signals;
pub use sources::Sources;
pub use stats::Stats;
use stats::Watchdog;
pub use timers::TimerKey;
use timers::Timers;

/// Callbacks for what becomes ready, for times, signals, children, and calls from other threads.
///
/// Everything runs on the thread that calls [`run`](Self::run) or [`turn`](Self::turn), one callback
/// at a time, each with `&mut EventLoop<T>`: a callback may register, modify and remove whatever it
/// likes, itself included. What the program needs to remember is [`state`](Self::state), lent to every
/// callback through the loop.
///
/// An echo server, right about partial writes:
///
/// ```
/// use polyselect::{EventLoop, Interest, Next, WriteQueue};
/// use std::{io::{self, Read}, net::TcpListener};
///
/// #[derive(Default)]
/// struct State { accepted: u64 }
///
/// fn serve(listener: TcpListener) -> io::Result<EventLoop<State>> {
///     let mut event_loop = EventLoop::new(State::default())?;
///     event_loop.accept(listener, |event_loop, conn, _addr| {
///         event_loop.state.accepted += 1;
///         let mut out = WriteQueue::new();
///         event_loop.register(conn, Interest::READABLE, move |_loop, mut conn, _event| {
///             let mut buf = [0; 1024];
///             if out.is_empty() {
///                 match conn.read(&mut buf)? { 0 => return Ok(Next::Remove), n => out.push(&buf[..n]) }
///             }
///             Ok(Next::Modify(if out.flush(conn)? { Interest::READABLE } else { Interest::WRITABLE }))
///         })?;
///         Ok(())
///     })?;
///     Ok(event_loop)
/// }
/// # use std::{io::Write, net::TcpStream};
/// # let listener = TcpListener::bind(("127.0.0.1", 0))?;
/// # let mut client = TcpStream::connect(listener.local_addr()?)?;
/// # client.write_all(b"hello")?;
/// # let mut event_loop = serve(listener)?;
/// # event_loop.turn(None)?;
/// # event_loop.turn(None)?;
/// # let mut reply = [0; 5];
/// # client.read_exact(&mut reply)?;
/// # assert_eq!((&reply, event_loop.state.accepted), (b"hello", 1));
/// # Ok::<(), io::Error>(())
/// ```
///
/// # The order of a turn
///
/// 1. The wait is worked out: not at all if calls are queued or coroutines were woken, else until the first timer's deadline.
/// 2. The selector waits. Left-over events of a turn that panicked take the place of a wait.
/// 3. Each event goes to its callback, in the order in which the mechanism reported them.
/// 4. Signals that came go to their callbacks.
/// 5. Timers whose deadline has passed run, in the order of their deadlines.
/// 6. Calls run in the order in which they were queued: those of [`call_soon`](Self::call_soon) that
///    were there when the turn began, and those of [`Remote::call`] that were there after the wait.
/// 7. Coroutines that were woken before this step are polled, once each.
///
/// What a callback removes gets no further event, not even one that has been collected already.
///
/// # Errors and panics of callbacks
///
/// A callback of a source that returns an error, other than `WouldBlock` and `Interrupted` which mean
/// nothing, loses its registration, and the error goes to the hook of [`on_error`](Self::on_error).
///
/// A panic passes through `turn` and `run`. The registration whose callback panicked is gone; the
/// loop can be used as before, and the rest of the turn happens in the next.
pub struct EventLoop<T = ()> {
    /// What the program remembers between callbacks.
    pub state: T,
    selector: Selector<Handler<T>>,
    /// The events of the last wait; those before `delivered` have had their callback.
    events: Events,
    delivered: usize,
    calls: Calls<T>,
    timers: Timers<T>,
    mailbox: Mailbox<T>,
    signals: Option<Signals<T>>,
    #[cfg(unix)]
    children: Children<T>,
    #[cfg(feature = "async")]
    coroutines: Coroutines,
    error_hook: Option<ErrorHook<T>>,
    /// Listeners that are paused for lack of descriptors.
    resting: Vec<Key>,
    /// Of the callback that has just failed.
    failure: Option<io::Error>,
    watchdog: Watchdog,
    stats: Stats,
    /// How many of the selector's registrations are the loop's own.
    own_sources: usize,
    stopping: bool,
    /// Shared with the turn in progress, which is over even if a callback puts another loop here.
    in_turn: Rc<Cell<bool>>,
}

/// How many events one wait can bring; the rest come with the next.
const BATCH: usize = 1024;

impl<T: 'static> EventLoop<T> {
    /// A loop on the best mechanism of this system, or on the one that the environment variable
    /// `POLYSELECT_BACKEND` names.
    ///
    /// # Errors
    ///
    /// As [`Selector::new`].
    ///
    /// ```
    /// use polyselect::EventLoop;
    ///
    /// let mut event_loop = EventLoop::new("state")?;
    /// event_loop.call_soon(|event_loop| assert_eq!(event_loop.state, "state"));
    /// event_loop.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(state: T) -> io::Result<Self> {
        Ok(Self::on(Selector::new()?, state))
    }

    /// A loop on this mechanism.
    ///
    /// # Errors
    ///
    /// As [`Selector::with_backend`].
    ///
    /// ```
    /// use polyselect::{Backend, EventLoop};
    ///
    /// let event_loop = EventLoop::with_backend(Backend::Poll, ())?;
    /// assert_eq!(event_loop.backend(), Backend::Poll);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_backend(backend: Backend, state: T) -> io::Result<Self> {
        Ok(Self::on(Selector::with_backend(backend)?, state))
    }

    fn on(selector: Selector<Handler<T>>, state: T) -> Self {
        Self {
            state,
            selector,
            events: Events::with_capacity(BATCH),
            delivered: 0,
            calls: Calls::default(),
            timers: Timers::default(),
            mailbox: Mailbox::default(),
            signals: None,
            #[cfg(unix)]
            children: Children::default(),
            #[cfg(feature = "async")]
            coroutines: Coroutines::default(),
            error_hook: None,
            resting: Vec::new(),
            failure: None,
            watchdog: Watchdog::default(),
            stats: Stats::default(),
            own_sources: 0,
            stopping: false,
            in_turn: Rc::default(),
        }
    }

    /// Turns until [`stop`](Self::stop) is called, or until nothing is left that could ever call back:
    /// no source, timer, call, signal, child or coroutine, and no [`Remote`] in anybody's hands.
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn). Errors of callbacks do not end it.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new(0)?;
    /// event_loop.call_every(Duration::from_millis(1), |event_loop, _timer| {
    ///     event_loop.state += 1;
    ///     if event_loop.state == 3 {
    ///         event_loop.stop();
    ///     }
    /// });
    /// event_loop.run()?;
    /// assert_eq!(event_loop.state, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn run(&mut self) -> io::Result<()> {
        self.timers.forget_the_time();
        loop {
            if !self.stopping && self.has_nothing_left() {
                return Ok(());
            }
            if self.turn_is_last()? {
                log::trace!("the event loop stops");
                return Ok(());
            }
        }
    }

    /// Does a turn, which does not wait if the loop has been stopped, and says whether it has.
    #[inline(always)]
    fn turn_is_last(&mut self) -> io::Result<bool> {
        let timeout = self.stopping.then_some(Duration::ZERO);
        self.turn_once(timeout)?;
        Ok(mem::take(&mut self.stopping))
    }

    /// Does one turn; it waits for something to do, but no longer than `timeout`.
    ///
    /// `None` waits for ever, [`Duration::ZERO`] does not wait. See [the order of a
    /// turn](Self#the-order-of-a-turn). It may come back with nothing done: the time was up, or what
    /// ended the wait was gone.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` in a callback, for a turn is in progress; `Other` after a fork; and what
    /// waiting gives when there is no memory (`ENOMEM`). Errors of callbacks go to
    /// [`on_error`](Self::on_error).
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// event_loop.call_soon(|event_loop| {
    ///     let error = event_loop.turn(Duration::ZERO).unwrap_err();
    ///     assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy);
    /// });
    /// event_loop.turn(None)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn turn(&mut self, timeout: impl Into<Option<Duration>>) -> io::Result<()> {
        self.timers.forget_the_time();
        self.turn_once(timeout.into())
    }

    /// Ends [`run`](Self::run) when the turn in progress is over. Called while nothing runs, it lets
    /// the next `run` do one turn without waiting.
    ///
    /// See [`run`](Self::run) for an example.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// The numbers are those of the order that [`EventLoop`] promises.
    // Inlined with the wait in it: see `backend/direct.rs`.
    #[inline(always)]
    fn turn_once(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let _turn = Turn::begin(&self.in_turn)?;
        #[cfg(feature = "async")]
        self.prepare_coroutines()?;
        let timeout = self.time_to_wait(timeout); // 1
        self.wait(timeout)?; // 2
        self.mailbox.empty_into(&mut self.calls);
        self.calls.begin_turn();
        log::trace!("{} events to deliver", self.events.len() - self.delivered);
        self.deliver(); // 3
        self.deliver_signals(); // 4
        self.fire_timers(); // 5
        self.run_calls(); // 6
        #[cfg(feature = "async")]
        self.run_coroutines(); // 7
        self.stats.turns += 1;
        Ok(())
    }

    #[inline]
    fn time_to_wait(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        if !self.calls.is_empty() || self.signals.as_ref().is_some_and(Signals::is_due) {
            return Some(Duration::ZERO);
        }
        #[cfg(feature = "async")]
        if self.coroutines.has_woken() {
            return Some(Duration::ZERO);
        }
        match (self.timers.time_left(), timeout) {
            (Some(left), Some(timeout)) => Some(left.min(timeout)),
            (left, timeout) => left.or(timeout),
        }
    }

    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.delivered < self.events.len() {
            log::trace!("{} events are left of the last turn", self.events.len() - self.delivered);
            return Ok(());
        }
        log::trace!("waiting for {timeout:?}");
        self.delivered = 0;
        self.selector.select(&mut self.events, timeout).map(drop)
    }

    fn deliver(&mut self) {
        // The position is the loop's, not this function's: what is left after a panic stays with
        // the loop, and so it does when a callback puts another loop in the place of this one.
        let before = self.delivered;
        if self.watchdog.is_off() {
            while let Some(event) = self.events.get(self.delivered) {
                self.delivered += 1;
                self.dispatch(event);
            }
        } else {
            while let Some(event) = self.events.get(self.delivered) {
                self.delivered += 1;
                self.dispatch_watched(event);
            }
        }
        self.stats.events += self.delivered.saturating_sub(before) as u64;
    }

    #[inline(always)]
    fn dispatch(&mut self, event: Event) {
        let Some(registration) = self.selector.get(event.key) else { return };
        let handler = registration.source().clone();
        let guard = OnPanic::new(self, |event_loop| {
            drop(event_loop.selector.unregister(event.key));
        });
        let answer = handler.0.call(guard.event_loop, &event);
        mem::forget(guard);
        if !matches!(answer, Answer::Keep) {
            self.follow(event.key, answer);
        }
    }

    fn has_nothing_left(&self) -> bool {
        #[cfg(unix)]
        if !self.children.is_empty() {
            return false;
        }
        #[cfg(feature = "async")]
        if self.coroutines.tasks() > 0 {
            return false;
        }
        // What coroutines left behind can call nobody back.
        #[cfg(feature = "async")]
        let sources = self.selector.len() - self.coroutines.sources();
        #[cfg(not(feature = "async"))]
        let sources = self.selector.len();
        sources == 0
            && self.calls.is_empty()
            && self.timers.is_empty()
            && self.signals.as_ref().is_none_or(Signals::is_empty)
            && !self.mailbox.is_in_use()
    }

    /// Delivers, and says which callback and how long it takes.
    #[cold]
    fn dispatch_watched(&mut self, event: Event) {
        let Some(registration) = self.selector.get(event.key) else { return };
        let location = registration.source().0.location();
        log::trace!("{event:?} for the callback registered at {location}");
        let watch = self.watchdog.start();
        self.dispatch(event);
        self.watchdog.check(watch, location, &mut self.stats);
    }
}

/// A turn in progress, and the end of it also by a panic.
struct Turn(Rc<Cell<bool>>);

impl Turn {
    fn begin(in_turn: &Rc<Cell<bool>>) -> io::Result<Self> {
        if in_turn.replace(true) {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "a turn of this event loop is in progress: a callback cannot run another; use \
                 call_soon for what should happen next",
            ));
        }
        Ok(Self(Rc::clone(in_turn)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl<T: fmt::Debug> fmt::Debug for EventLoop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop")
            .field("state", &self.state)
            .field("selector", &self.selector)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
