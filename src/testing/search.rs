//! [`explore`]: a test under many seeds, and what a failure leads to.

// They are const; clippy does not see it on some targets.
#![allow(clippy::missing_const_for_thread_local)]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::{env, thread};

use super::decisions::Keep;
use super::disorder::Disorder;
use super::lab::Lab;
use super::leaks::{Leak, Leaks};

/// How often a failing run is repeated to make it shorter.
const ATTEMPTS: usize = 300;

/// Runs a test once for each seed, each time in a new [`Lab`], and fails with the first seed whose run panics.
///
/// The lab is [entered](Lab::enter), so that what the test creates is in it. Besides a panic of the test these are
/// failures: a selector or a loop of the lab that outlives the run; a source that was registered in it and is still
/// open after the run, unless it was open before; a thread that has woken a loop of the lab without a guard of
/// [`Lab::outside`].
///
/// A failing run is repeated with fewer and fewer of the lab's decisions, as long as it fails. The panic names the
/// seed, the decisions that are left, and the command that runs just that:
///
/// ```text
/// seed 36 fails: idle, with a request in hand
/// 2 of its 31 decisions are enough. To run it again:
///     POLYSELECT_SEED=36:4,17 cargo test idle_clients -- --exact --nocapture
/// ```
///
/// The log of that run is printed before: decisions, events and callbacks, each with its moment.
///
/// Two variables of the environment are read: `POLYSELECT_SEED`, as above, runs one seed and prints its log;
/// `POLYSELECT_SEEDS=10000` runs 10,000 seeds from the start of the range, whatever its end.
///
/// # Panics
///
/// If the test fails under one of the seeds, and if one of the variables cannot be parsed.
///
/// ```
/// use polyselect::EventLoop;
/// use polyselect::testing::{Disorder, explore};
/// use std::time::Duration;
///
/// explore(0..100, Disorder::network(), |lab| {
///     let mut event_loop = EventLoop::new(()).unwrap();
///     event_loop.call_later(Duration::from_secs(1800), |_loop| {});
///     event_loop.run().unwrap();
///     assert!(lab.elapsed() >= Duration::from_secs(1800)); // more, where a wait is late
/// });
/// ```
#[track_caller]
pub fn explore(seeds: Range<u64>, disorder: Disorder, mut test: impl FnMut(&Lab)) {
    if let Some((seed, keep)) = replay_of_environment() {
        let lab = Lab::with(seed, disorder, keep);
        println!("seed {seed} alone, because of POLYSELECT_SEED");
        let mut leaks = Leaks::before();
        let result = run_and_check(&lab, &mut leaks, &mut test);
        print!("{}", lab.log());
        if let Err(message) = result {
            panic!("seed {seed} fails: {message}");
        }
        return;
    }
    if let Some(failure) = first_failure(seeds, disorder, test) {
        println!("the log of the shortest run that fails:\n{}", failure.log);
        panic!("{failure}");
    }
}

/// Runs a test once for each seed, as [`explore`] does, and returns the first failure instead of panicking.
///
/// For tests of the search itself: how many seeds it takes to find a mistake.
///
/// ```
/// use polyselect::testing::{Disorder, first_failure};
///
/// let failure = first_failure(0..100, Disorder::none(), |lab| assert!(lab.below(10) > 0)).unwrap();
/// assert!(failure.seed < 100);
/// assert!(first_failure(0..100, Disorder::none(), |_lab| {}).is_none());
/// ```
#[must_use]
pub fn first_failure(
    seeds: Range<u64>,
    disorder: Disorder,
    mut test: impl FnMut(&Lab),
) -> Option<Failure> {
    let seeds = match number_of_environment() {
        Some(number) => seeds.start..seeds.start.saturating_add(number),
        None => seeds,
    };
    let (start, mut leaks) = (seeds.start, Leaks::before());
    for seed in seeds.clone() {
        let lab = Lab::with(seed, disorder, Keep::All);
        let result = quietly(|| run_once(&lab, &mut leaks, &mut test));
        let failure = if let Err(message) = result {
            Failure::new(&lab, message)
        } else if !(seed - start + 1).is_power_of_two() && seed + 1 < seeds.end {
            continue;
        } else if let Err(Leak { seed, message }) = leaks.check() {
            // The decisions of that run, if it was not the last, are those of a repetition.
            let lab = Lab::with(seed, disorder, Keep::All);
            quietly(|| run_once(&lab, &mut leaks, &mut test)).ok();
            Failure::new(&lab, message)
        } else {
            continue;
        };
        // What cannot be repeated cannot be shortened.
        let is_repeatable = !lab.is_unguarded();
        drop(lab);
        return Some(if is_repeatable {
            quietly(|| shorten(failure, disorder, leaks, &mut test))
        } else {
            failure
        });
    }
    None
}

/// A test that fails under a seed; [`first_failure`] returns it.
///
/// `Display` writes the text with which [`explore`] panics.
///
/// See [`first_failure`] for an example.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The panic's message, or the kind of leak.
    pub message: String,
    /// How many decisions took effect in the first run that failed.
    pub decisions: usize,
    /// The indexes of those that are enough for a failure.
    pub enough: Vec<u64>,
    /// The log of the run with these.
    pub log: String,
}

impl Failure {
    fn new(lab: &Lab, message: String) -> Self {
        let made = lab.state().decisions.made().to_vec();
        Self { seed: lab.seed(), message, decisions: made.len(), enough: made, log: lab.log() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, message, decisions, enough, .. } = self;
        let lines = match enough.len() {
            0 => "No decision of the lab is needed.".to_owned(),
            few => format!("{few} of its {decisions} decisions are enough."),
        };
        let indexes: Vec<_> = enough.iter().map(u64::to_string).collect();
        let current = thread::current();
        let name = current.name().filter(|name| *name != "main").unwrap_or("NAME_OF_THE_TEST");
        write!(
            f,
            "seed {seed} fails: {message}\n{lines} To run it again:\n    \
             POLYSELECT_SEED={seed}:{} cargo test {name} -- --exact --nocapture",
            indexes.join(","),
        )
    }
}

/// Runs the test in the lab; the error is the reason of a failure.
fn run_once(lab: &Lab, leaks: &mut Leaks, test: &mut impl FnMut(&Lab)) -> Result<(), String> {
    let in_lab = lab.enter();
    let result = catch_unwind(AssertUnwindSafe(|| test(lab)));
    drop(in_lab);
    result.map_err(|panic| message_of(&*panic))?;
    leaks.add(lab)?;
    if lab.is_unguarded() {
        return Err("a thread, or the kernel's own timers, made a source ready without a guard for work outside \
                    the lab, so the run cannot be repeated: use `Lab::thread` or `Lab::outside`, and TCP_NODELAY"
            .to_owned());
    }
    Ok(())
}

/// Runs the test in the lab; what it leaves open is a failure, too.
fn run_and_check(lab: &Lab, leaks: &mut Leaks, test: &mut impl FnMut(&Lab)) -> Result<(), String> {
    run_once(lab, leaks, test)?;
    leaks.check().map_err(|leak| leak.message)
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned()) + &PANICKED_AT.take()
}

/// Finds few decisions with which the test still fails: larger and smaller groups are left out one after another.
fn shorten(
    mut shortest: Failure,
    disorder: Disorder,
    mut leaks: Leaks,
    test: &mut impl FnMut(&Lab),
) -> Failure {
    let mut attempts = 0;
    // Whether the test fails with these decisions alone; if so, they are the shortest so far.
    let mut try_with = |enough: &[u64], shortest: &mut Failure| {
        attempts += 1;
        let keep = Keep::These(enough.iter().copied().collect::<BTreeSet<_>>());
        let lab = Lab::with(shortest.seed, disorder, keep);
        let result = run_and_check(&lab, &mut leaks, test);
        if let Err(message) = result {
            shortest.message = message;
            // Without some decisions others are not even asked for.
            shortest.enough = lab.state().decisions.made().to_vec();
            shortest.log = lab.log();
            return Ok(true);
        }
        if attempts < ATTEMPTS { Ok(false) } else { Err(()) }
    };
    let all = shortest.enough.clone();
    if try_with(&all, &mut shortest) != Ok(true) {
        shortest.message += " (but not when the same decisions are made once more: the cause is outside of the lab, \
                             such as a process that another test starts, which holds all descriptors for a moment)";
        return shortest;
    }
    let mut size = shortest.enough.len();
    while size > 0 {
        let (mut start, mut has_shrunk) = (0, false);
        while start < shortest.enough.len() {
            let mut fewer = shortest.enough.clone();
            fewer.drain(start..(start + size).min(fewer.len()));
            match try_with(&fewer, &mut shortest) {
                Ok(true) => has_shrunk = true,
                Ok(false) => start += size,
                Err(()) => return shortest,
            }
        }
        if !has_shrunk || size > 1 {
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }
    shortest
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic of a quiet thread was.
    static PANICKED_AT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps the panics of this thread from being printed.
fn quietly<R>(work: impl FnOnce() -> R) -> R {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                return others(info);
            }
            let place = info.location().map(|place| format!(" (at {place})"));
            PANICKED_AT.set(place.unwrap_or_default());
        }));
    });
    let before = IS_QUIET.replace(true);
    let result = work();
    IS_QUIET.set(before);
    result
}

fn replay_of_environment() -> Option<(u64, Keep)> {
    let value = env::var("POLYSELECT_SEED").ok()?;
    let parse = |number: &str| number.parse::<u64>().ok();
    let parsed = match value.split_once(':') {
        None => parse(&value).map(|seed| (seed, Keep::All)),
        Some((seed, indexes)) => {
            let indexes = indexes.split(',').filter(|index| !index.is_empty());
            let indexes: Option<BTreeSet<_>> = indexes.map(parse).collect();
            parse(seed).zip(indexes.map(Keep::These))
        }
    };
    Some(parsed.unwrap_or_else(|| {
        panic!("POLYSELECT_SEED is a seed, or a seed and decisions such as 36:4,17, not {value:?}")
    }))
}

fn number_of_environment() -> Option<u64> {
    let value = env::var("POLYSELECT_SEEDS").ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("POLYSELECT_SEEDS is a number of seeds, not {value:?}")))
}
