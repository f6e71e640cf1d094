//! [`Lab`]: the clock, the decisions and the log that loops and selectors share in a test.

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::decisions::{Decision, Decisions, Keep, Kind, bits_at};
use super::disorder::Disorder;
use super::guards::Guards;
use super::log::{Entry, Log};
use super::pollers::Pollers;
use super::time::Time;
#[cfg(unix)]
use super::wires::Wires;
use crate::clock::nanoseconds;

/// How far the moments of a lab are ahead of the system's clock, so that the two are never confused.
const AHEAD: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A laboratory for tests: loops and selectors in it have a clock of their own, and see what its [`Disorder`] makes of
/// the kernel's events.
///
/// A loop is in a lab if it is created by [`EventLoop::in_lab`](crate::EventLoop::in_lab) or
/// [`Selector::in_lab`](crate::Selector::in_lab), or on a thread that has [entered](Self::enter) one, which is the way
/// for code under test that creates its own. [`explore`](super::explore) enters a lab for each of its runs.
///
/// # Time
///
/// 1. The clock stands still while callbacks and tasks run, and in every wait of zero.
/// 2. Another wait first looks without waiting. If anything is ready it returns, and no time has passed.
/// 3. Otherwise the clock jumps to the end of that wait, which is the deadline of the first timer or the timeout of the
///    caller. No real time passes.
/// 4. A wait without an end, with nothing ready and nothing that could come, fails: the test panics, and the message
///    lists what waits. So a lost wake-up fails immediately instead of hanging.
/// 5. While work is done outside of the lab (an [`outside`](Self::outside) guard, a [`thread`](Self::thread),
///    [`to_thread`](crate::asyncio::to_thread), a child process), time goes at the real pace: it neither jumps nor
///    stands still.
/// 6. A thread that wakes a loop of the lab without a guard is reported by [`explore`](super::explore), because such a
///    run cannot be repeated.
/// 7. [`advance`](Self::advance) is a stall: what fell due meanwhile is late. A repeating timer fires once.
/// 8. Moments of the lab are real `Instant`s, a hundred years ahead. A timer with a moment of the system's clock
///    panics. Compute deadlines from [`EventLoop::now`](crate::EventLoop::now) or
///    [`asyncio::now`](crate::asyncio::now), which are right with and without a lab.
/// 9. The test fails when a day of the lab's time has passed ([`set_limit`](Self::set_limit)), or 200,000 waits have
///    begun at one moment.
///
/// These go by real time in a lab: the kernel's own timers (set `TCP_NODELAY` on both ends, or Nagle's algorithm holds
/// pieces back), [`Remote::call_and_wait`](crate::Remote::call_and_wait), and a
/// [`SharedSelector`](crate::SharedSelector), which is never in a lab. `set_busy_poll` has no effect in it.
///
/// ```
/// use polyselect::EventLoop;
/// use polyselect::testing::{Disorder, Lab};
/// use std::time::Duration;
///
/// let lab = Lab::new(1, Disorder::none());
/// let mut event_loop = EventLoop::in_lab(&lab, 0)?;
/// event_loop.call_every(Duration::from_secs(60), |event_loop, _timer| {
///     event_loop.state += 1;
///     if event_loop.state == 60 {
///         event_loop.stop();
///     }
/// });
/// event_loop.run()?; // takes no time
/// assert_eq!(lab.elapsed(), Duration::from_secs(60 * 60));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Lab(pub(super) Arc<Shared>);

pub(super) struct Shared {
    seed: u64,
    disorder: Disorder,
    /// What the lab's clock showed at its start.
    start: Instant,
    /// Whether the lab has the system's clock.
    is_real: bool,
    /// Whether only some of the decisions take effect.
    is_shortened: bool,
    pub(super) guards: Guards,
    state: Mutex<State>,
    #[cfg(unix)]
    wires: Mutex<Wires>,
}

pub(super) struct State {
    pub(super) time: Time,
    pub(super) decisions: Decisions,
    pub(super) log: Log,
    pub(super) pollers: Pollers,
    /// How many numbers the test has drawn.
    drawn: u64,
}

impl Lab {
    /// Creates a lab, whose decisions follow from `seed`.
    ///
    /// See [`Lab`] for an example.
    #[must_use]
    pub fn new(seed: u64, disorder: Disorder) -> Self {
        Self::with(seed, disorder, Keep::All)
    }

    pub(super) fn with(seed: u64, disorder: Disorder, keep: Keep) -> Self {
        Self::create(seed, disorder, keep, false)
    }

    pub(super) fn create(seed: u64, disorder: Disorder, keep: Keep, is_real: bool) -> Self {
        let now = Instant::now();
        let mut time = Time::new();
        time.go_really(is_real);
        Self(Arc::new(Shared {
            seed,
            disorder,
            start: if is_real { now } else { now + AHEAD },
            is_real,
            is_shortened: keep != Keep::All,
            guards: Guards::new(usize::from(is_real)),
            state: Mutex::new(State {
                time,
                decisions: Decisions::new(seed, keep),
                log: Log::new(),
                pollers: Pollers::default(),
                drawn: 0,
            }),
            #[cfg(unix)]
            wires: Mutex::default(),
        }))
    }

    /// Returns the seed.
    ///
    /// ```
    /// # use polyselect::testing::{Disorder, Lab};
    /// assert_eq!(Lab::new(7, Disorder::none()).seed(), 7);
    /// ```
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Returns the present moment by the lab's clock.
    ///
    /// ```
    /// # use polyselect::testing::{Disorder, Lab};
    /// let lab = Lab::new(1, Disorder::none());
    /// assert_eq!(lab.now(), lab.now()); // time stands still
    /// ```
    #[must_use]
    pub fn now(&self) -> Instant {
        if self.0.is_real { Instant::now() } else { self.0.start + self.elapsed() }
    }

    /// Returns how much time has passed since the lab was made.
    ///
    /// See [`Lab`] for an example.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        if self.0.is_real {
            return self.0.start.elapsed();
        }
        Duration::from_nanos(self.state().time.now())
    }

    /// Whether a moment may be of this lab's clock; moments from long before its start are counted in.
    pub(crate) fn has_moment(&self, moment: Instant) -> bool {
        self.0.is_real || moment.checked_add(AHEAD / 2).is_none_or(|moment| moment > self.0.start)
    }

    /// Lets time pass while the caller has the thread: what falls due meanwhile is late.
    ///
    /// To let the program work while time passes, run its loop until then:
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use polyselect::testing::{Disorder, Lab};
    /// use std::time::Duration;
    ///
    /// let lab = Lab::new(1, Disorder::none());
    /// let mut event_loop = EventLoop::in_lab(&lab, 0)?;
    /// let period = Duration::from_millis(10);
    /// event_loop.call_every(period, |event_loop, _timer| event_loop.state += 1);
    ///
    /// lab.advance(10 * period); // a stall: the timer has missed nine deadlines
    /// event_loop.turn(Duration::ZERO)?;
    /// assert_eq!(event_loop.state, 1);
    ///
    /// let end = event_loop.now() + 10 * period; // time passes
    /// while event_loop.now() < end {
    ///     event_loop.turn(end - event_loop.now())?;
    /// }
    /// assert_eq!(event_loop.state, 11);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn advance(&self, duration: Duration) {
        self.state().time.advance(nanoseconds(duration));
    }

    /// Sets how much of its time may pass before the test fails: a day by default.
    ///
    /// ```
    /// # use polyselect::testing::{Disorder, Lab};
    /// # use std::time::Duration;
    /// Lab::new(1, Disorder::none()).set_limit(Duration::from_secs(60 * 24 * 60 * 60));
    /// ```
    pub fn set_limit(&self, limit: Duration) {
        self.state().time.set_limit(limit);
    }

    /// Draws a number below `bound` from the seed: a choice of the test itself. It stays the same when a failing run is
    /// shortened.
    ///
    /// # Panics
    ///
    /// If `bound` is zero.
    ///
    /// ```
    /// # use polyselect::testing::{Disorder, Lab};
    /// let drawn = || Lab::new(1, Disorder::none()).below(6);
    /// assert!(drawn() < 6);
    /// assert_eq!(drawn(), drawn());
    /// ```
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below zero");
        let mut state = self.state();
        state.drawn += 1;
        bits_at(self.0.seed, 2, state.drawn) % bound
    }

    /// Adds a line to the log, with the moment.
    ///
    /// ```
    /// # use polyselect::testing::{Disorder, Lab};
    /// let lab = Lab::new(1, Disorder::none());
    /// lab.note("the client gives up");
    /// assert!(lab.log().contains("the client gives up"));
    /// ```
    pub fn note(&self, text: impl Into<String>) {
        self.push(Entry::Note(text.into()));
    }

    /// Returns the log: the lab's decisions, the events that were reported, and the callbacks that ran, each with its
    /// moment. It keeps the last 2,000 entries.
    ///
    /// See [`note`](Self::note) for an example.
    #[must_use]
    pub fn log(&self) -> String {
        self.state().log.to_string()
    }

    /// Returns a number that is the same for runs with the same log.
    ///
    /// ```
    /// # use polyselect::testing::{Disorder, Lab};
    /// let lab = Lab::new(1, Disorder::none());
    /// let before = lab.fingerprint();
    /// lab.note("something");
    /// assert_ne!(lab.fingerprint(), before);
    /// ```
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.state().log.fingerprint()
    }

    pub(crate) fn note_call(&self, what: &'static str, place: Option<&'static Location<'static>>) {
        self.push(Entry::Call { what, place });
    }

    pub(super) fn push(&self, entry: Entry) {
        self.state().push(entry);
    }

    pub(super) fn disorder(&self) -> Disorder {
        self.0.disorder
    }

    pub(super) fn decide(&self, chance: u8, kind: Kind) -> Option<Decision> {
        self.decide_below(chance, kind, 0).map(|(decision, _)| decision)
    }

    /// Decides whether something happens, and draws its amount below `bound`.
    pub(super) fn decide_below(
        &self,
        chance: u8,
        kind: Kind,
        bound: u64,
    ) -> Option<(Decision, u64)> {
        // Most chances are zero in most labs.
        if chance == 0 { None } else { self.state().decide(chance, kind, bound) }
    }

    /// How much of `length` a read or a write of an `Async` source moves.
    #[cfg(feature = "async")]
    pub(crate) fn shortened(&self, length: usize) -> usize {
        self.shorten(self.0.disorder.short, length)
    }

    pub(super) fn shorten(&self, chance: u8, length: usize) -> usize {
        if length < 2 {
            return length;
        }
        // Of each magnitude as often: there are seldom as many bytes as a buffer has room for.
        let short = self.decide_below(chance, Kind::Short, 16);
        short.map_or(length, |(decision, power)| {
            decision.again((length as u64 - 1).min(1 << power)) as usize + 1
        })
    }

    /// Whether the calls of other threads come later.
    pub(crate) fn delays_calls(&self) -> bool {
        self.decide(self.0.disorder.remote, Kind::Remote).is_some()
    }

    /// Puts ready tasks into another order.
    #[cfg(feature = "async")]
    pub(crate) fn shuffle_tasks<I>(&self, tasks: &mut [I]) {
        self.shuffle(self.0.disorder.tasks, Kind::Tasks, tasks);
    }

    /// Puts timers of equal deadlines into another order.
    pub(crate) fn shuffle_timers<I>(&self, timers: &mut [I]) {
        self.shuffle(self.0.disorder.timers, Kind::Timers, timers);
    }

    pub(super) fn shuffle<I>(&self, chance: u8, kind: Kind, items: &mut [I]) {
        if items.len() > 1
            && let Some(decision) = self.decide(chance, kind)
        {
            decision.shuffle(items);
        }
    }

    /// How long to wait in reality for an event that should not come: one of a thread that has no guard.
    pub(super) fn patience(&self) -> Duration {
        // A run that is repeated in order to shorten it is known to have no such thread.
        Duration::from_millis(if self.0.is_shortened { 1 } else { 100 })
    }

    pub(super) fn is_real(&self) -> bool {
        self.0.is_real
    }

    #[cfg(unix)]
    pub(super) fn wires(&self) -> MutexGuard<'_, Wires> {
        self.0.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Without Unix sockets there are no wires.
    #[cfg(not(unix))]
    #[allow(clippy::unused_self)]
    pub(super) fn move_bytes(&self) {}

    #[cfg(not(unix))]
    #[allow(clippy::unused_self)]
    pub(super) fn next_arrival(&self) -> Option<u64> {
        None
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves nothing half done that matters to a test that has failed.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn push(&mut self, entry: Entry) {
        let now = self.time.now();
        self.log.push(now, entry);
    }

    pub(super) fn decide(&mut self, chance: u8, kind: Kind, bound: u64) -> Option<(Decision, u64)> {
        let decision = self.decisions.decide(kind, chance)?;
        let amount = decision.below(bound);
        self.push(Entry::Decided { index: decision.index, kind, amount });
        Some((decision, amount))
    }
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab").field("seed", &self.0.seed).finish_non_exhaustive()
    }
}
