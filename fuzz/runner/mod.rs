//! Runs the targets without libFuzzer.

mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, io, process, thread};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::targets::{TARGETS, Target};
use mutate::Mutator;

/// How long each target runs by default.
const SHORT: Duration = Duration::from_secs(1);

/// An input that takes longer counts as a hang.
const LONGEST: Duration = Duration::from_secs(20);

pub fn run_all() -> ExitCode {
    // One at a time: a child process of one has copies of the descriptors of all, shortly after its start.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let trials = TARGETS.iter().map(|target| Trial::test(target.name, || run(target))).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn run(target: &'static Target) -> Result<(), Failed> {
    let current = watch_for_hanging(target);
    if let Some(path) = env::var_os("POLYSELECT_FUZZ_INPUT") {
        return check(target, &fs::read(path)?, &current);
    }
    let corpus = corpus(target)?;
    for input in &corpus {
        check(target, input, &current)?;
    }

    let seconds = env::var("POLYSELECT_FUZZ_SECONDS").ok();
    let time = match seconds.map(|seconds| seconds.parse()) {
        Some(seconds) => Duration::from_secs(seconds?),
        None => SHORT,
    };
    let seed = match env::var("POLYSELECT_FUZZ_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => u64::from(process::id()),
    };
    let mut mutator = Mutator::new(seed);
    let (start, mut runs) = (Instant::now(), 0_u64);
    while start.elapsed() < time {
        check(target, &mutator.input(&corpus), &current)?;
        runs += 1;
    }
    println!(
        "{}: {} files, then {runs} runs in {:.0?}, seed {seed}",
        target.name,
        corpus.len(),
        start.elapsed()
    );
    Ok(())
}

fn corpus(target: &Target) -> io::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
    let mut paths = fs::read_dir(&folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().map(fs::read).collect()
}

type Current = Arc<Mutex<Option<(Instant, Vec<u8>)>>>;

fn check(target: &Target, input: &[u8], current: &Current) -> Result<(), Failed> {
    *current.lock().expect("no holder panics") = Some((Instant::now(), input.to_vec()));
    let result = catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    *current.lock().expect("no holder panics") = None;
    result.map_err(|_| {
        let kept = keep(target, input);
        format!("{} fails, with the message above, for {}", target.name, kept.display()).into()
    })
}

/// Writes the input to a file, and returns its path.
fn keep(target: &Target, input: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz").join(target.name);
    let path = folder.join(format!("failed-{}", process::id()));
    if let Err(error) = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, input)) {
        eprintln!("{} cannot be written: {error}; the input is {input:?}", path.display());
    }
    path
}

fn watch_for_hanging(target: &'static Target) -> Current {
    let current = Current::default();
    let watched = Arc::downgrade(&current);
    thread::spawn(move || {
        while let Some(current) = watched.upgrade() {
            if let Some((since, input)) = &*current.lock().expect("no holder panics")
                && since.elapsed() > LONGEST
            {
                eprintln!("{} hangs for {}", target.name, keep(target, input).display());
                process::abort();
            }
            drop(current);
            thread::sleep(Duration::from_secs(1));
        }
    });
    current
}
