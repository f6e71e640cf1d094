//! Runs each case on each backend, in a process of its own.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use polyselect::Backend;

use super::suite::{Case, Suite};
use super::{disorder, virtual_time};

/// A variable of the process that runs one case: its name.
pub const CASE: &str = "POLYSELECT_CONFORMANCE_CASE";

const TAKES_ALL: &str =
    "wine takes all that is sent to a peer that does not read, so that nothing has to wait";

const READS_RESETS: &str =
    "wine lets a read end with 0 after a reset, and leaves no error on the socket";

/// The exit status of a case that prints which requirement the system lacks.
pub const SKIPPED: i32 = 77;

/// Cases that wine gets wrong, as `suite::case`, and the reason.
const WRONG_ON_WINE: &[(&str, &str)] = &[
    (
        "oneshot::a_full_half_closed_socket_does_not_spin",
        "wine reports a hang-up when the peer has only shut down its writing side",
    ),
    ("faults_peers::a_stalled_peer_is_not_read_from_without_bound", TAKES_ALL),
    ("asyncio_sources::a_reader_and_a_writer_of_one_source_are_both_woken", TAKES_ALL),
    ("asyncio_sources::a_reset_ends_reading_and_writing", TAKES_ALL),
    ("asyncio_sources::another_loop_rejects_a_source_that_is_taken", TAKES_ALL),
    ("asyncio_server_endings::stop_gives_up_what_a_writer_still_has_to_send", READS_RESETS),
    (
        "asyncio_server_endings::dropping_a_server_gives_up_what_a_writer_still_has_to_send",
        READS_RESETS,
    ),
    ("asyncio_writers::a_writer_of_a_cancelled_task_gives_up_when_its_time_is_up", READS_RESETS),
    ("asyncio_writers::a_dropped_writer_gives_up_when_its_time_is_up", READS_RESETS),
    ("asyncio_writers::a_dropped_writer_without_time_gives_up_immediately", READS_RESETS),
    (
        "asyncio_server_endings::dropping_a_server_and_its_loop_resets_connections_that_are_owed_bytes",
        READS_RESETS,
    ),
    ("asyncio_servers::the_log_of_a_failed_connection_names_its_peer", READS_RESETS),
    ("asyncio_writers::a_dropped_loop_resets_the_connection_of_a_dropped_writer", READS_RESETS),
    (
        "asyncio_writers::a_dropped_loop_resets_the_connection_of_a_writer_that_is_closing",
        READS_RESETS,
    ),
    (
        "asyncio_writers::a_dropped_loop_resets_the_connection_of_a_writer_whose_task_lives",
        READS_RESETS,
    ),
    (
        "asyncio_writers::a_writer_that_outlives_its_loop_resets_the_connection_when_it_is_dropped",
        READS_RESETS,
    ),
    (
        "asyncio_writers::bytes_written_outside_a_task_end_with_a_reset_when_the_writer_is_dropped",
        READS_RESETS,
    ),
    ("asyncio_writers::abort_gives_up_what_is_queued", READS_RESETS),
    ("asyncio_writers::abort_resets_a_connection_without_queued_bytes", READS_RESETS),
    ("asyncio_uninit_reads::a_failed_read_leaves_the_vector_as_it_was", READS_RESETS),
    ("level::a_reset_is_an_error", READS_RESETS),
    (
        "poll::behind_our_back::a_closed_descriptor_is_invalid_once_and_the_others_are_not_affected",
        "wine's WSAPoll marks a socket that is not open, but goes on to wait for the others",
    ),
];

/// Windows' status.
const ERROR_INTERNAL_ERROR: i32 = 1359;

/// A case that runs longer counts as a hang.
const LONGEST: Duration = Duration::from_secs(120);

/// How long other threads may take to release values that they share with a case.
const SETTLES: Duration = Duration::from_secs(20);

pub fn run_all(suite: &'static Suite) -> ExitCode {
    let suites = suite.flatten();
    if let Ok(case) = env::var(CASE) {
        run_here(&suites, &case);
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    // Miri starts no processes, so the case is an argument there.
    if let (true, true, Some(case)) = (cfg!(miri), arguments.exact, &arguments.filter) {
        run_here(&suites, case);
        return ExitCode::SUCCESS;
    }
    // Cases that wait should not delay the others.
    arguments
        .test_threads
        .get_or_insert(2 * thread::available_parallelism().map_or(1, usize::from));
    let trials = match disorder::Seeds::of_environment() {
        Some(seeds) => seeds.trials(&suites),
        None => trials(&suites),
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Whether a Windows program runs under wine.
pub fn on_wine() -> bool {
    cfg!(windows) && env::var_os("WINEPREFIX").is_some()
}

fn trials(suites: &[(String, &'static [Case])]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for &backend in Backend::ALL {
        // Miri aborts at the first system call that it does not support.
        if cfg!(miri) && backend != Backend::Epoll {
            continue;
        }
        if !backend.is_available() {
            let missing = || Ok(Completion::ignored_with("this system does not have it"));
            trials.push(Trial::ignorable_test(format!("{backend}::*"), missing));
            continue;
        }
        for (suite, cases) in suites {
            for case in *cases {
                let name = format!("{backend}::{suite}::{}", case.name);
                let run = {
                    let name = name.clone();
                    move || run_elsewhere(backend, case, &name)
                };
                trials.push(Trial::ignorable_test(name, run));
            }
        }
    }
    trials
}

/// Runs a case in a process of its own.
fn run_elsewhere(backend: Backend, case: &Case, name: &str) -> Result<Completion, Failed> {
    if !(case.needs.met)(backend.capabilities()) {
        return Ok(Completion::ignored_with(format!("{backend} lacks: {}", case.needs.what)));
    }
    let on_wine = on_wine();
    let wrong = WRONG_ON_WINE.iter().find(|(case, _)| on_wine && name.ends_with(case));
    if let Some((_, reason)) = wrong {
        return Ok(Completion::ignored_with(reason));
    }
    if let (true, Some(reason)) = (disorder::is_asked_for(), disorder::needs_order(name)) {
        return Ok(Completion::ignored_with(reason));
    }
    run_process(backend, name, on_wine, &[])
}

/// Runs a case in a process of its own, with these variables in its environment.
pub fn run_process(
    backend: Backend,
    name: &str,
    on_wine: bool,
    environment: &[(&str, &str)],
) -> Result<Completion, Failed> {
    let run = || {
        let mut command = Command::new(env::current_exe()?);
        command.env(CASE, name).envs(environment.iter().copied()).output()
    };
    let output = match run() {
        // Rarely, in one of many thousand processes, wine fails to start one.
        Err(error) if on_wine && error.raw_os_error() == Some(ERROR_INTERNAL_ERROR) => run()?,
        result => result?,
    };
    if output.status.success() {
        return Ok(Completion::Completed);
    }
    if output.status.code() == Some(SKIPPED) {
        return Ok(Completion::ignored_with(String::from_utf8_lossy(&output.stderr).trim()));
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("on {backend}, {}\n{}", output.status, String::from_utf8_lossy(&text)).into())
}

/// Ends the process if the case does not. Returns when the thread that does so sleeps, or is about to: while it starts
/// it holds locks of the standard library, which a forked child would never see released.
fn watch() {
    static HAS_STARTED: AtomicBool = AtomicBool::new(false);

    thread::spawn(|| {
        HAS_STARTED.store(true, Ordering::Release);
        thread::sleep(LONGEST);
        eprintln!("still running after {LONGEST:?}");
        process::abort();
    });
    while !HAS_STARTED.load(Ordering::Acquire) {
        thread::yield_now();
    }
}

fn run_here(suites: &[(String, &'static [Case])], name: &str) {
    let (backend, path) = name.split_once("::").expect("backend::suite::case");
    let (suite, case) = path.split_once("::").expect("suite::case");
    let cases = suites.iter().find(|(name, _)| *name == suite).expect("a suite").1;
    let case = cases.iter().find(|candidate| candidate.name == case).expect("a case");

    // Miri reports a thread that still runs at the end, and scripts/miri has its own time limit.
    if !cfg!(miri) {
        watch();
    }
    let before = open_descriptors();
    let _in_lab = case.is_in_lab.then(virtual_time::enter);
    (case.run)(backend.parse().expect("a backend"));
    // A thread of the pool may hold the waker of the task that it has just woken.
    let end = Instant::now() + SETTLES;
    while open_descriptors() != before && Instant::now() < end {
        thread::yield_now();
    }
    assert_eq!(open_descriptors(), before, "descriptors before and after");
}

/// The open descriptors and their files, if the system lists them.
fn open_descriptors() -> BTreeMap<String, String> {
    let Ok(directory) = std::fs::read_dir("/proc/self/fd") else { return BTreeMap::new() };
    let entries = directory.filter_map(|entry| {
        let entry = entry.ok()?;
        // The descriptor that reads the directory is closed by now, and its link gone.
        let target = std::fs::read_link(entry.path()).ok()?;
        let own = target.to_string_lossy().contains(&format!("/proc/{}/fd", process::id()));
        (!own)
            .then(|| (entry.file_name().to_string_lossy().into(), target.to_string_lossy().into()))
    });
    entries.collect()
}
