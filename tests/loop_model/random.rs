//! Random programs.

#[path = "../support/budget.rs"]
mod budget;

use std::cell::{Cell, RefCell};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use polyselect::Backend;
use proptest::prelude::*;
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestRunner,
};

use self::budget::Budget;
use super::loop_model::ending::be_impatient;
use super::loop_model::program::run;
use super::loop_model::steps::{Step, WATCH_CHILD};
use super::loop_model::watchdog::Watchdog;

/// Signals, children and descriptors are the process's, so one program runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

type Bytes = Vec<[u8; 3]>;

/// Random steps, and steps that start a child, in the ratio 20 to `children`.
fn program(longest: usize, children: u32) -> impl Strategy<Value = Bytes> {
    let step = prop_oneof![20 => any::<[u8; 3]>(), children => Just(WATCH_CHILD)];
    proptest::collection::vec(step, 1..longest)
}

/// Runs random programs on this backend.
pub fn check(backend: Backend) {
    run_programs(&format!("on {backend}"), backend, &program(200, 0));
}

/// Runs them where no pidfd can be opened.
#[cfg(target_os = "linux")]
pub fn check_without_pidfd(backend: Backend) {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

    let run = move || {
        let calls = std::collections::BTreeMap::from([(libc::SYS_pidfd_open, Vec::new())]);
        let this = std::env::consts::ARCH.try_into().expect("an architecture that is known");
        let (allow, fail) = (SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32));
        let filter = SeccompFilter::new(calls, allow, fail, this).expect("is a filter");
        let filter: BpfProgram = filter.try_into().expect("compiles");
        if let Err(error) = apply_filter(&filter) {
            return println!("skipped: a filter is refused: {error}");
        }
        run_programs(&format!("without pidfd on {backend}"), backend, &program(100, 1));
    };
    // The filter is bound to its thread.
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

fn run_programs(name: &str, backend: Backend, strategy: &impl Strategy<Value = Bytes>) {
    const ROUND: u32 = 20;

    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // The check opens it, so that another test would count its descriptors.
    if !backend.is_available() {
        return println!("skipped: this system does not have {backend}");
    }
    let budget = Budget::or_seconds(2);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loop_model/regressions.txt");
    let config = || Config {
        cases: if let Budget::Programs(programs) = budget { programs } else { ROUND },
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(path))),
        max_shrink_iters: 20_000,
        max_shrink_time: 60_000,
        // The other one takes most of the time in a debug build.
        rng_algorithm: RngAlgorithm::XorShift,
        ..Config::default()
    };
    let (steps, programs) = (Cell::new(0), Cell::new(0));
    let (failure, found) = (RefCell::new(None), Cell::new((0, Duration::ZERO)));
    let start = Instant::now();
    Watchdog::beside(|watchdog| {
        loop {
            let result = TestRunner::new(config()).run(strategy, |bytes| {
                let program: Vec<_> = bytes.iter().copied().map(Step::new).collect();
                steps.set(steps.get() + program.len());
                programs.set(programs.get() + 1);
                let outcome = watchdog.guard(name, &program, || run_alone(backend, &program));
                outcome.map_err(|wrong| {
                    be_impatient();
                    if failure.borrow().is_none() {
                        found.set((programs.get(), start.elapsed()));
                    }
                    *failure.borrow_mut() = Some((wrong.clone(), program, bytes));
                    TestCaseError::fail(wrong)
                })
            });
            // The last one that failed is the smallest.
            if let Some((wrong, program, bytes)) = failure.take() {
                let (programs, took) = found.get();
                let bytes: String = bytes.iter().flatten().map(|b| format!("{b:02x}")).collect();
                panic!(
                    "{name}: {wrong}\n{program:?}\nfound in {programs} programs, {took:?}\n\
                     for the fuzz target `loops`: {bytes}"
                );
            }
            if let Err(error) = result {
                panic!("{name}: {error}");
            }
            match budget {
                Budget::Time(time) if start.elapsed() < time => {}
                _ => break,
            }
        }
    });
    let (steps, programs, took) = (steps.get(), programs.get(), start.elapsed());
    println!("{name}: {programs} programs of {steps} steps in {took:?}");
}

#[cfg(target_os = "linux")]
fn run_alone(backend: Backend, program: &[Step]) -> Result<(), String> {
    use super::loop_model::ending::comes_true;
    use super::own_descriptors::open_descriptors;

    let descriptors = || open_descriptors().map_err(|error| error.to_string());
    let before = descriptors()?;
    run(backend, program)?;
    // A thread of the pool may be inside a wake, with a share of the loop's descriptor.
    if comes_true(|| descriptors().as_ref() == Ok(&before)) {
        return Ok(());
    }
    Err(format!("leaves descriptors: {before:?}, {:?}", descriptors()?))
}

#[cfg(windows)]
fn run_alone(backend: Backend, program: &[Step]) -> Result<(), String> {
    run(backend, program)
}
