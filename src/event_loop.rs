//! [`EventLoop`]: callbacks on a selector.

mod accept;
mod builder;
mod call_user;
mod calls;
mod children;
mod dump;
mod errors;
mod handler;
#[cfg(feature = "async")]
mod in_thread;
mod iteration;
mod local;
mod nesting;
mod remote;
mod signal_key;
mod signals;
mod sources;
mod stats;
mod table;
#[cfg(feature = "async")]
mod tasks;
mod timers;

use std::rc::Rc;
use std::time::Duration;
use std::{fmt, io, mem};

use crate::backend::Backend;
use crate::event::Events;
use crate::key::Key;
use crate::selector::Selector;
pub use builder::EventLoopBuilder;
use builder::Settings;
use call_user::Progress;
use calls::Calls;
use children::Children;
pub use children::{ChildKey, ChildMut};
#[cfg(feature = "async")]
pub use dump::TaskInfo;
use errors::ErrorHook;
use handler::Handler;
pub use handler::Next;
pub use local::Local;
use local::LocalCalls;
pub use remote::Remote;
use remote::Remotes;
pub use signal_key::SignalKey;
use signals::Signals;
pub use stats::{Stats, Turn};
use table::SourceTable;
pub use table::Sources;
#[cfg(feature = "async")]
use tasks::Tasks;
use timers::Timers;

/// Callbacks for sources that become ready, for times, signals, children, and calls from other threads.
///
/// Everything runs on the thread that calls [`run`](Self::run) or [`turn`](Self::turn), one callback
/// at a time, each with `&mut EventLoop<T>`: a callback may register, modify and remove any registration,
/// including its own. [`state`](Self::state) holds the program's own data, lent to every callback through the loop.
///
/// An echo server that handles partial writes:
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
/// # The order of an iteration
///
/// 1. Calls of [`Local`] that were queued since the last iteration run. Then the timeout is computed: zero if something
///    is queued or woken, otherwise the time until the first timer.
/// 2. The selector waits. Events that a panic left over take the place of a wait.
/// 3. Each event goes to its callback, in the order in which the backend reported them, as far as the present interest
///    of its registration includes it.
/// 4. Signals that came, and children that ended, go to their callbacks.
/// 5. Timers whose deadline has passed run, in the order of their deadlines.
/// 6. Calls run in the order in which they were queued: those of [`call_soon`](Self::call_soon) that
///    were there when the iteration began, and those of [`Remote::call`] that were there after the wait.
/// 7. Tasks that were woken before this step are polled, once each.
/// 8. Calls of [`Local`] that were queued before this step run.
///
/// A registration that a callback removes gets no further event, not even one that was collected before. Neither does
/// one that a callback pauses; one whose interest a callback narrows gets the remaining part of its event.
///
/// # Errors and panics of callbacks
///
/// A callback of a source that returns an error loses its registration, and the error goes to the hook of
/// [`on_error`](Self::on_error). `WouldBlock` and `Interrupted` are not errors in this sense: the registration stays.
///
/// A panic passes through `turn` and `run`. The registration whose callback panicked has ended; the
/// loop can be used as before, and the rest of the iteration happens in the next. A task that panics harms only itself:
/// its handle returns the panic.
///
/// # A loop that is replaced by a callback
///
/// A callback may move the loop that calls it elsewhere, with [`mem::replace`] for example. The iteration ends when the
/// callback returns: undelivered events stay with the old loop, for its next iteration, and so does the return value
/// of the callback. [`run`](Self::run) continues with the new loop, [`block_on`](#method.block_on) returns an error.
pub struct EventLoop<T = ()> {
    /// The state of the program, which callbacks share.
    pub state: T,
    /// Before the rest, so that destructors find it closed.
    local: LocalCalls<T>,
    /// Before the sources, which it unregisters.
    #[cfg(feature = "async")]
    tasks: Tasks,
    sources: SourceTable<T>,
    /// The events of the last wait; those before `delivered` have had their callback.
    events: Events,
    delivered: usize,
    calls: Calls<T>,
    timers: Timers<T>,
    remotes: Remotes<T>,
    signals: Option<Signals<T>>,
    children: Children<T>,
    error_hook: Option<ErrorHook<T>>,
    /// The error of the callback that is returning, and an owner of the two.
    failure: Option<(io::Error, Handler<T>)>,
    /// Listeners that are paused for lack of descriptors.
    resting: Vec<Key>,
    accept_budget: usize,
    accept_rest: Duration,
    slow_callback_threshold: Option<Duration>,
    stats: Stats,
    must_stop: bool,
    progress: Rc<Progress>,
}

impl<T: 'static> EventLoop<T> {
    /// Creates a loop on the best backend of this system, or on the one that the environment variable
    /// `POLYSELECT_BACKEND` names. [`builder`](EventLoop::builder) offers more choices.
    ///
    /// # Errors
    ///
    /// The errors of [`Selector::new`].
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
        Ok(Self::on(Selector::new()?, state, &Settings::default()))
    }

    /// Creates a loop on this backend.
    ///
    /// # Errors
    ///
    /// The errors of [`Selector::with_backend`].
    ///
    /// ```
    /// use polyselect::{Backend, EventLoop};
    ///
    /// let event_loop = EventLoop::with_backend(Backend::Poll, ())?;
    /// assert_eq!(event_loop.backend(), Backend::Poll);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_backend(backend: Backend, state: T) -> io::Result<Self> {
        Ok(Self::on(Selector::with_backend(backend)?, state, &Settings::default()))
    }

    /// Creates a loop in a lab, by whose clock its timers run, and whose disorder its events show.
    ///
    /// [`EventLoopBuilder::lab`] does the same with other settings.
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new).
    ///
    /// See [`Lab`](crate::testing::Lab) for an example.
    #[cfg(feature = "testing")]
    pub fn in_lab(lab: &crate::testing::Lab, state: T) -> io::Result<Self> {
        EventLoop::builder().lab(lab).build(state)
    }

    fn on(selector: Selector<Handler<T>>, state: T, settings: &Settings) -> Self {
        let clock = selector.clock().clone();
        Self {
            state,
            local: LocalCalls::default(),
            #[cfg(feature = "async")]
            tasks: Tasks::new(settings.operation_budget, clock.clone()),
            sources: SourceTable::new(selector),
            events: Events::with_capacity(settings.batch_size),
            delivered: 0,
            calls: Calls::default(),
            timers: Timers::new(clock),
            remotes: Remotes::default(),
            signals: None,
            children: Children::default(),
            error_hook: None,
            failure: None,
            resting: Vec::new(),
            accept_budget: settings.accept_budget,
            accept_rest: settings.accept_rest,
            slow_callback_threshold: settings.slow_callback_threshold,
            stats: Stats::default(),
            must_stop: false,
            progress: Rc::default(),
        }
    }

    /// Runs iterations until [`stop`](Self::stop) is called, or until nothing is left that could cause a callback:
    /// no source, timer, call, signal, child or task, and no [`Remote`].
    ///
    /// # Errors
    ///
    /// The errors of [`turn`](Self::turn). Errors of callbacks do not end it.
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
        self.progress.check_idle()?;
        self.timers.forget_the_time();
        loop {
            if !self.must_stop && self.has_nothing_left() {
                return Ok(());
            }
            if self.iterate_and_stop()? {
                log::trace!("the event loop stops");
                return Ok(());
            }
        }
    }

    /// Runs an iteration, which does not wait if `stop` was called, and returns whether it was.
    #[inline(always)]
    fn iterate_and_stop(&mut self) -> io::Result<bool> {
        let timeout = self.must_stop.then_some(Duration::ZERO);
        self.iterate(timeout)?;
        Ok(mem::take(&mut self.must_stop))
    }

    /// Runs one iteration, which waits for up to `timeout`, and returns its counts.
    ///
    /// `None` waits without a limit, [`Duration::ZERO`] does not wait. See [the order of an
    /// iteration](Self#the-order-of-an-iteration). It may return without having called anything: the timeout has
    /// passed, or the cause of the wake was removed.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` in a callback, because an iteration is in progress; otherwise the errors of
    /// [`Selector::select`]: a [`ForkedError`](crate::ForkedError), or `ENOMEM` when memory runs out. Errors of callbacks go to
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
    /// assert_eq!(event_loop.turn(None)?.calls, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn turn(&mut self, timeout: impl Into<Option<Duration>>) -> io::Result<Turn> {
        self.timers.forget_the_time();
        let before = self.stats;
        self.iterate(timeout.into())?;
        Ok(Turn::between(&before, &self.stats))
    }

    /// Runs iterations without waiting until one has nothing to do; returns the sum of their counts.
    ///
    /// It runs all expired timers and ready callbacks, and the work that they cause, without waiting: a test of
    /// callbacks calls this instead of [`run`](Self::run), which would wait for their timers. [`stop`](Self::stop) ends
    /// it early. A loop that always has work never returns: one with a call that queues itself, or a source that stays
    /// ready.
    ///
    /// # Errors
    ///
    /// The errors of [`turn`](Self::turn).
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new(Vec::new())?;
    /// event_loop.call_later(Duration::from_secs(60), |event_loop| event_loop.state.push("later"));
    /// event_loop.call_soon(|event_loop| {
    ///     event_loop.state.push("now");
    ///     event_loop.call_soon(|event_loop| event_loop.state.push("next"));
    /// });
    /// let done = event_loop.run_until_idle()?;
    /// assert_eq!((done.calls, done.timers), (2, 0));
    /// assert_eq!(event_loop.state, ["now", "next"]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn run_until_idle(&mut self) -> io::Result<Turn> {
        let mut done = Turn::default();
        loop {
            let turn = self.turn(Duration::ZERO)?;
            done += turn;
            if turn.is_idle() || mem::take(&mut self.must_stop) {
                return Ok(done);
            }
        }
    }

    /// Ends [`run`](Self::run) when the iteration in progress is over. Called between two runs, it lets
    /// the next `run` do one iteration without waiting.
    ///
    /// See [`run`](Self::run) for an example.
    pub fn stop(&mut self) {
        self.must_stop = true;
    }

    fn has_nothing_left(&self) -> bool {
        if !self.children.is_empty() {
            return false;
        }
        #[cfg(feature = "async")]
        if self.tasks.len() > 0 {
            return false;
        }
        // Sources of tasks are not counted: without a task none of them calls back.
        self.sources.users() == 0
            && self.calls.is_empty()
            && !self.local.has_calls()
            && self.timers.is_empty()
            && self.signals.as_ref().is_none_or(Signals::is_empty)
            && !self.remotes.are_in_use()
            && !self.progress.has_late()
    }

    /// Returns the backend in use.
    ///
    /// See [`with_backend`](Self::with_backend) for an example.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.sources.selector.backend()
    }

    /// Looks for events for up to `duration` before each sleep, without sleeping. Zero, the default, turns it off.
    /// Like [`Selector::busy_poll`](crate::Selector::set_busy_poll).
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// event_loop.set_busy_poll(Duration::from_micros(50));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_busy_poll(&mut self, duration: Duration) {
        self.sources.selector.set_busy_poll(duration);
    }

    /// Makes the loop usable in a forked child, where every operation except dropping it fails before this call.
    /// Like [`Selector::rebuild`].
    ///
    /// Sources, timers, calls and callbacks of signals work in the child; watched children remain the parent's, and
    /// their callbacks get an error (`ECHILD`) in the child.
    ///
    /// # Errors
    ///
    /// The errors of [`Selector::rebuild`]; nothing has changed then.
    ///
    /// ```
    /// let mut event_loop = polyselect::EventLoop::new(())?;
    /// event_loop.rebuild()?; // works without a fork too, if the backend's descriptor was closed
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn rebuild(&mut self) -> io::Result<()> {
        self.sources.selector.rebuild()
    }

    /// Moves the running loop to another backend. Like [`Selector::rebuild_with`].
    ///
    /// # Errors
    ///
    /// The errors of [`Selector::rebuild_with`]; nothing has changed then.
    ///
    /// ```
    /// use polyselect::{Backend, EventLoop};
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// event_loop.rebuild_with(Backend::Poll)?;
    /// assert_eq!(event_loop.backend(), Backend::Poll);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn rebuild_with(&mut self, backend: Backend) -> io::Result<()> {
        #[cfg(feature = "async")]
        self.suspend_tasks_sources()?;
        self.sources.selector.rebuild_with(backend)
    }
}

impl<T: fmt::Debug> fmt::Debug for EventLoop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop")
            .field("state", &self.state)
            .field("selector", &self.sources.selector)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
