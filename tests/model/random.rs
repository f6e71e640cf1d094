//! Random programs.

use std::io;
use std::time::Instant;

use polyselect::Interest;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

use super::program::{Mode, PLACES, Sel, Step, run};
use super::subject::Kind;

fn interest() -> impl Strategy<Value = Interest> {
    const R: Interest = Interest::READABLE;
    const W: Interest = Interest::WRITABLE;
    prop_oneof![
        4 => Just(R),
        2 => Just(W),
        3 => Just(R.union(W)),
        1 => Just(Interest::empty()),
        1 => Just(Interest::PRIORITY),
        1 => Just(R.union(Interest::PRIORITY)),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        4 => Just(Mode::Level),
        2 => Just(Mode::Oneshot),
        2 => Just(Mode::Edge),
        1 => Just(Mode::EdgeOneshot),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Stream),
        2 => Just(Kind::PipeReader),
        2 => Just(Kind::PipeWriter),
        1 => Just(Kind::Counter),
        1 => Just(Kind::Listener),
        1 => Just(Kind::File),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let place = || 0..PLACES;
    prop_oneof![
        12 => (place(), interest(), mode()).prop_map(|(p, i, m)| Step::Register(p, i, m)),
        8 => (place(), interest()).prop_map(|(p, i)| Step::Modify(p, i)),
        5 => place().prop_map(Step::Unregister),
        12 => (place(), 1..40_usize).prop_map(|(p, n)| Step::Send(p, n)),
        10 => (place(), 1..80_usize).prop_map(|(p, n)| Step::Receive(p, n)),
        3 => place().prop_map(Step::Fill),
        3 => place().prop_map(Step::Drain),
        2 => place().prop_map(Step::ShutDown),
        2 => place().prop_map(Step::ClosePeer),
        3 => (place(), kind()).prop_map(|(p, k)| Step::Replace(p, k)),
        1 => Just(Step::SendAll),
        16 => prop_oneof![Just(64_usize), Just(64), 1..8_usize].prop_map(Step::Select),
        2 => Just(Step::Wake),
        1 => Just(Step::Rebuild),
        1 => (0..8_usize).prop_map(Step::RebuildWith),
    ]
}

/// Runs random programs on selectors that `open` makes.
pub fn check(name: &str, open: impl Fn() -> io::Result<Sel>) {
    let programs = std::env::var("POLYSELECT_MODEL_PROGRAMS").ok();
    let programs = programs.map_or(300, |programs| programs.parse().expect("a number"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model/regressions.txt");
    let config = Config {
        cases: programs,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(path))),
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let strategy = proptest::collection::vec(step(), 1..250);
    let steps = std::cell::Cell::new(0);
    let start = Instant::now();
    let result = TestRunner::new(config).run(&strategy, |program| {
        steps.set(steps.get() + program.len());
        run(&program, open().expect("opens"))
            .map_err(|wrong| TestCaseError::fail(format!("{name}, {wrong}")))
    });
    println!("{name}: {} steps in {:?}", steps.get(), start.elapsed());
    if let Err(error) = result {
        panic!("{error}");
    }
}
