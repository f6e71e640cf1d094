//! [`Lab`]: a world in which loops and selectors run, with a clock and a chance of its own.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::decisions::{Decision, Decisions, Keep, Kind, bits_at};
use super::disorder::Disorder;
use super::log::{Entry, Log};
use super::pollers::Pollers;
use super::time::{Time, nanoseconds};
#[cfg(unix)]
use super::wire::Wires;

/// How far the moments of a lab are ahead of the system's clock, so that the two are told apart.
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
/// 3. Otherwise the clock jumps to the end of that wait: to the first timer, or to what the caller allows. Nobody waits
///    in reality.
/// 4. A wait without an end, with nothing ready and nothing that could come, fails: the test panics, and the message
///    lists what waits. So a lost wake-up fails at once instead of hanging.
/// 5. While somebody works outside (an [`outside`](Self::outside) guard, a [`thread`](Self::thread), a watched child
///    process), time goes as it does outside: it neither jumps nor stands.
/// 6. A thread that wakes a loop of the lab without a guard is reported by [`explore`](super::explore), because what it
///    does comes at no certain moment.
/// 7. [`advance`](Self::advance) is a stall: what fell due meanwhile is late. A repeating timer fires once.
/// 8. Moments of the lab are real `Instant`s, a hundred years ahead. A timer with a moment of the system's clock
///    panics. Compute deadlines from [`EventLoop::now`](crate::EventLoop::now) or
///    [`asyncio::now`](crate::asyncio::now), which are right with and without a lab.
/// 9. The test fails when a day of the lab's time has passed ([`set_limit`](Self::set_limit)), or 200,000 waits have
///    begun at one moment.
///
/// What goes by real time in a lab: the kernel's own timers (set `TCP_NODELAY` on both ends, or Nagle's algorithm holds
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
pub struct Lab(Arc<Shared>);

struct Shared {
    seed: u64,
    disorder: Disorder,
    /// What the lab's clock showed at its start.
    start: Instant,
    /// Whether the lab has the system's clock.
    is_real: bool,
    /// Whether only some of the decisions take effect.
    is_shortened: bool,
    thread: usize,
    /// How many work outside; changed under the lock of `state`.
    outside: AtomicUsize,
    /// Whether another thread has woken a loop while nobody worked outside.
    is_unguarded: AtomicBool,
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

thread_local! {
    static CURRENT: RefCell<Vec<Lab>> = const { RefCell::new(Vec::new()) };
}

/// A number that no other living thread has. May be called in a signal's handler.
fn this_thread() -> usize {
    thread_local!(static PLACE: u8 = const { 0 });
    PLACE.with(|place| std::ptr::from_ref(place).addr())
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

    fn create(seed: u64, disorder: Disorder, keep: Keep, is_real: bool) -> Self {
        let now = Instant::now();
        let mut time = Time::new();
        time.go_really(is_real);
        Self(Arc::new(Shared {
            seed,
            disorder,
            start: if is_real { now } else { now + AHEAD },
            is_real,
            is_shortened: keep != Keep::All,
            thread: this_thread(),
            outside: AtomicUsize::new(usize::from(is_real)),
            is_unguarded: AtomicBool::new(false),
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

    /// Puts the loops and selectors that this thread creates from now on into the lab, until the guard is dropped.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use polyselect::testing::{Disorder, Lab};
    /// use std::time::Duration;
    ///
    /// fn code_under_test() -> std::io::Result<()> {
    ///     let mut event_loop = EventLoop::new(())?;
    ///     event_loop.call_later(Duration::from_secs(3600), |_loop| {});
    ///     event_loop.run()
    /// }
    ///
    /// let lab = Lab::new(1, Disorder::none());
    /// let _in_lab = lab.enter();
    /// code_under_test()?;
    /// assert_eq!(lab.elapsed(), Duration::from_secs(3600));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn enter(&self) -> InLab {
        let depth = CURRENT.with_borrow_mut(|labs| {
            labs.push(self.clone());
            labs.len()
        });
        InLab { depth, of_this_thread: PhantomData }
    }

    /// The lab that the thread is in, or the one that `POLYSELECT_DISORDER` asks for.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.with_borrow(|labs| labs.last().cloned()).or_else(of_environment)
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
        self.0.is_real || moment + AHEAD / 2 > self.0.start
    }

    /// Lets time pass while the caller has the thread: what falls due meanwhile is late.
    ///
    /// To let the program work while time passes, run its loop for so long:
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

    /// Says that somebody works outside of the lab, whose results the program may wait for. Until the guard is dropped,
    /// time goes as it does outside.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use polyselect::testing::{Disorder, Lab};
    ///
    /// let lab = Lab::new(1, Disorder::none());
    /// let mut event_loop = EventLoop::in_lab(&lab, 0)?;
    /// let (remote, outside) = (event_loop.remote()?, lab.outside());
    /// let thread = std::thread::spawn(move || {
    ///     remote.call(|event_loop| event_loop.state = 42).unwrap();
    ///     drop((remote, outside));
    /// });
    /// event_loop.run()?;
    /// thread.join().unwrap();
    /// assert_eq!(event_loop.state, 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use = "nobody works outside when the guard is dropped"]
    pub fn outside(&self) -> Outside {
        self.change_outside(|outside| outside + 1);
        Outside(self.clone())
    }

    fn change_outside(&self, change: impl Fn(usize) -> usize) {
        let mut state = self.state();
        let outside = change(self.0.outside.load(Ordering::Relaxed));
        self.0.outside.store(outside, Ordering::Release);
        if !self.0.is_real {
            state.time.go_really(outside > 0);
        }
    }

    pub(super) fn has_outside(&self) -> bool {
        self.0.outside.load(Ordering::Acquire) > 0
    }

    /// Runs `work` on a thread that counts as outside until it has ended.
    ///
    /// ```
    /// # use polyselect::testing::{Disorder, Lab};
    /// let thread = Lab::new(1, Disorder::none()).thread(|| 6 * 7);
    /// assert_eq!(thread.join().unwrap(), 42);
    /// ```
    pub fn thread<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> JoinHandle<R> {
        let outside = self.outside();
        thread::spawn(move || {
            let result = work();
            drop(outside);
            result
        })
    }

    /// Notes that a loop of the lab is woken. May be called in a signal's handler.
    pub(crate) fn note_wake(&self) {
        if this_thread() != self.0.thread && !self.has_outside() {
            self.set_unguarded();
        }
    }

    pub(super) fn set_unguarded(&self) {
        self.0.is_unguarded.store(true, Ordering::Release);
    }

    pub(super) fn is_unguarded(&self) -> bool {
        self.0.is_unguarded.load(Ordering::Acquire)
    }

    /// Draws a number below `bound` from the seed, for the test's own choices. These stay when a failing run is
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
        if tasks.len() > 1
            && let Some(decision) = self.decide(self.0.disorder.tasks, Kind::Tasks)
        {
            decision.shuffle(tasks);
        }
    }

    /// Puts timers of equal deadlines into another order.
    pub(crate) fn shuffle_timers<I>(&self, timers: &mut [I]) {
        if timers.len() > 1
            && let Some(decision) = self.decide(self.0.disorder.timers, Kind::Timers)
        {
            decision.shuffle(timers);
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

/// A lab for programs that know nothing of labs: `POLYSELECT_DISORDER=promised:42` puts each selector into one with the
/// system's clock, and seeds that follow from 42.
fn of_environment() -> Option<Lab> {
    static ASKED_FOR: OnceLock<Option<(Disorder, u64)>> = OnceLock::new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);

    let asked_for = ASKED_FOR.get_or_init(|| {
        let value = std::env::var("POLYSELECT_DISORDER").ok()?;
        let parsed = value
            .split_once(':')
            .and_then(|(level, seed)| Some((Disorder::by_name(level)?, seed.parse().ok()?)));
        let expected = "POLYSELECT_DISORDER is a level and a seed, such as promised:42; the levels are none, promised, \
                        network and beyond";
        Some(parsed.unwrap_or_else(|| panic!("{expected}, not {value:?}")))
    });
    let (disorder, seed) = asked_for.as_ref()?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed) as u64;
    Some(Lab::create(bits_at(*seed, 3, number), *disorder, Keep::All, true))
}

/// Keeps a thread in a lab; [`Lab::enter`] returns it.
///
/// ```
/// use polyselect::testing::{Disorder, InLab, Lab};
///
/// let in_lab: InLab = Lab::new(1, Disorder::none()).enter();
/// drop(in_lab);
/// ```
#[derive(Debug)]
#[must_use = "the thread leaves the lab when this is dropped"]
pub struct InLab {
    depth: usize,
    of_this_thread: PhantomData<*const ()>,
}

impl Drop for InLab {
    fn drop(&mut self) {
        // Guards that were dropped out of order leave with the outermost.
        let left = CURRENT.with_borrow_mut(|labs| labs.split_off((self.depth - 1).min(labs.len())));
        drop(left);
    }
}

/// Says that somebody works outside of a lab; [`Lab::outside`] returns it.
///
/// ```
/// use polyselect::testing::{Disorder, Lab, Outside};
/// use std::{thread, time::Duration};
///
/// let lab = Lab::new(1, Disorder::none());
/// let outside: Outside = lab.outside();
/// thread::sleep(Duration::from_millis(1));
/// drop(outside);
/// assert!(lab.elapsed() >= Duration::from_millis(1));
/// ```
#[derive(Debug)]
pub struct Outside(Lab);

impl Clone for Outside {
    fn clone(&self) -> Self {
        self.0.outside()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.0.change_outside(|outside| outside - 1);
    }
}
