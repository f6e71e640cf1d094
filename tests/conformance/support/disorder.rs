//! Runs each case under seeded disorder: each seed on one backend, chosen by the seed.
//!
//! ```text
//! POLYSELECT_DISORDER_SEEDS=promised:200 cargo test --all-features --test conformance
//! POLYSELECT_DISORDER=promised:42 cargo test --all-features --test conformance -- --exact poll::edge::CASE
//! ```

use std::env;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed, Trial};
use polyselect::Backend;

use super::harness::run_process;
use super::suite::Case;

/// A variable of the harness: the level, and the number of seeds.
const SEEDS: &str = "POLYSELECT_DISORDER_SEEDS";

/// A variable of a case, read by the crate: the level and the seed.
const DISORDER: &str = "POLYSELECT_DISORDER";

/// The time for each seed of a case. A slower case runs with fewer seeds.
const SHARE: Duration = Duration::from_millis(25);

/// Cases that need an orderly backend, as `suite::case`, and the reason.
const NEED_ORDER: &[(&str, &str)] = &[
    ("always_ready::a_file_as_an_edge_is_reported_once", TOLD_ONCE),
    ("asyncio_short_reads::a_pipe_reads_on_after_a_packet", PACKET),
    ("exclusive::an_exclusive_edge_is_reported_for_each_arrival", TOLD_ONCE),
    ("forks::a_wake_pending_at_the_fork_is_pending_for_both", WOKEN_ONCE),
    ("forks::a_waker_used_in_a_child_belongs_to_its_rebuilt_selector", WOKEN_ONCE),
    ("nesting::edges_and_one_shots_are_not_consumed_by_the_outer_wait", TOLD_ONCE),
    ("oneshot::an_edge_that_is_a_oneshot_fires_once", TOLD_ONCE),
    ("pipes::a_full_pipe_whose_reader_goes_is_an_edge", TOLD_ONCE),
    ("pipes::a_terminal_takes_an_edge", TOLD_ONCE),
    ("registration::set_watch_changes_interest_and_mode", TOLD_ONCE),
    ("signals::a_wait_without_a_timeout_goes_on_after_signals", WOKEN_ONCE),
    ("timeout::a_wake_ends_a_wait_of_any_timeout", WOKEN_ONCE),
    ("wakers::a_million_wakes_from_four_threads_are_not_lost", WOKEN_ONCE),
    ("wakers::a_wake_before_the_wait_ends_it_immediately", WOKEN_ONCE),
    ("wakers::a_wake_comes_beside_events", WOKEN_ONCE),
    ("wakers::a_waker_survives_rebuilding", WOKEN_ONCE),
    ("wakers::many_wakes_end_one_wait", WOKEN_ONCE),
];

const TOLD_ONCE: &str = "it counts edges, and there may be more edges than changes";
const WOKEN_ONCE: &str = "it counts wakes, and a wait may end without one";
const PACKET: &str = "a short read discards the rest of a packet";

/// Whether this process runs under disorder.
pub fn is_asked_for() -> bool {
    env::var_os(DISORDER).is_some()
}

/// The seed and the disorder of this process.
#[cfg(feature = "testing")]
pub fn of_environment() -> (u64, polyselect::testing::Disorder) {
    use polyselect::testing::Disorder;

    let Ok(value) = env::var(DISORDER) else { return (0, Disorder::none()) };
    let (level, seed) = value.split_once(':').expect("a level and a seed");
    let disorder = match level {
        "none" => Disorder::none(),
        "promised" => Disorder::promised(),
        "network" => Disorder::network(),
        "beyond" => Disorder::beyond(),
        _ => panic!("{DISORDER}: no level is named {level:?}"),
    };
    (seed.parse().expect("a seed"), disorder)
}

/// Returns the reason why a case cannot run under disorder.
pub fn needs_order(name: &str) -> Option<&'static str> {
    NEED_ORDER.iter().find(|(case, _)| name.ends_with(case)).map(|(_, reason)| *reason)
}

pub struct Seeds {
    level: String,
    seeds: RangeInclusive<u64>,
}

impl Seeds {
    pub fn of_environment() -> Option<Self> {
        let value = env::var(SEEDS).ok()?;
        if !cfg!(feature = "testing") {
            panic!("{SEEDS} needs the feature `testing`");
        }
        let parsed = value.split_once(':').and_then(|(level, number)| {
            Some(Self { level: level.to_owned(), seeds: 1..=number.parse().ok()? })
        });
        Some(parsed.unwrap_or_else(|| {
            panic!("{SEEDS} is a level and a number of seeds, such as promised:200, not {value:?}")
        }))
    }

    /// One trial per case.
    pub fn trials(&self, suites: &[(String, &'static [Case])]) -> Vec<Trial> {
        let mut trials = Vec::new();
        for (suite, cases) in suites {
            for case in *cases {
                let path = format!("{suite}::{}", case.name);
                let (level, seeds) = (self.level.clone(), self.seeds.clone());
                let run = {
                    let path = path.clone();
                    move || Self { level, seeds }.run(case, &path)
                };
                trials.push(Trial::ignorable_test(format!("disorder::{path}"), run));
            }
        }
        trials
    }

    fn run(&self, case: &Case, path: &str) -> Result<Completion, Failed> {
        if let Some(reason) = needs_order(path) {
            return Ok(Completion::ignored_with(reason));
        }
        let backends: Vec<_> =
            Backend::available().filter(|it| (case.needs.met)(it.capabilities())).collect();
        if backends.is_empty() {
            return Ok(Completion::ignored_with(format!("no backend has: {}", case.needs.what)));
        }
        let (mut ignored, mut failed) = (None, Vec::new());
        let (start, number) = (Instant::now(), *self.seeds.end());
        for seed in self.seeds.clone() {
            if start.elapsed() > SHARE * number as u32 {
                eprintln!("{path}: {} of {number} seeds, for lack of time", seed - 1);
                break;
            }
            let backend = backends[seed as usize % backends.len()];
            let (name, disorder) = (format!("{backend}::{path}"), format!("{}:{seed}", self.level));
            // Panics are part of many cases, and symbolizing a backtrace takes longer than the
            // case.
            let environment = [(DISORDER, disorder.as_str()), ("RUST_BACKTRACE", "0")];
            match run_process(backend, &name, false, &environment) {
                Ok(Completion::Completed) => {}
                Ok(skipped) => ignored = Some(skipped),
                Err(failure) => failed.push((name, disorder, failure)),
            }
        }
        let Some((name, disorder, failure)) = failed.first() else {
            return Ok(ignored.unwrap_or(Completion::Completed));
        };
        let number = failed.len();
        let message = failure.message().unwrap_or_default();
        Err(format!(
            "{number} seeds fail. To run the first again:\n    {DISORDER}={disorder} cargo test --all-features --test \
             conformance -- --exact {name}\n{message}"
        )
        .into())
    }
}
