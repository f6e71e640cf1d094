//! One suite, run once per backend: a selector behaves the same on all of them.
//!
//! Each case runs in a process of its own, so that it may fork, raise signals and limits and count
//! descriptors; a watchdog ends one that hangs. A backend that lacks a capability of a case skips
//! it, with the reason. The name of a case starts with its backend:
//!
//! ```text
//! cargo test --test conformance
//! cargo test --test conformance -- select::
//! cargo test --test conformance -- --exact poll::level::is_true_at_the_end_of_the_wait
//! ```

mod support;

mod accepting;
#[cfg(feature = "async")]
mod asyncio;
mod capacity;
mod edge;
mod event_loop;
mod faults;
mod level;
mod lookup;
mod oneshot;
mod registration;
mod removal;
mod shared;
mod threads;
mod timeout;
mod wakers;

#[cfg(unix)]
mod always_ready;
#[cfg(unix)]
mod behind_our_back;
#[cfg(epoll)]
mod exclusive;
#[cfg(unix)]
mod forked_wakes;
#[cfg(unix)]
mod forks;
#[cfg(unix)]
mod high_descriptors;
#[cfg(target_os = "linux")]
mod kinds;
#[cfg(unix)]
mod nesting;
#[cfg(unix)]
mod pipes;
mod rebuilding;
#[cfg(unix)]
mod signals;
#[cfg(windows)]
mod sockets_behind_our_back;

use std::process::ExitCode;

use support::harness::{Suite, run_all};

const SUITES: &[Suite] = &[
    ("accepting", accepting::CASES),
    #[cfg(feature = "async")]
    ("asyncio_connecting", asyncio::connecting::CASES),
    #[cfg(feature = "async")]
    ("asyncio_coroutines", asyncio::coroutines::CASES),
    #[cfg(all(feature = "async", unix))]
    ("asyncio_hang_ups", asyncio::hang_ups::CASES),
    #[cfg(feature = "async")]
    ("asyncio_groups", asyncio::groups::CASES),
    #[cfg(feature = "async")]
    ("asyncio_limits", asyncio::limits::CASES),
    #[cfg(feature = "async")]
    ("asyncio_threads", asyncio::threads::CASES),
    #[cfg(all(feature = "async", unix))]
    ("asyncio_processes", asyncio::processes::CASES),
    #[cfg(feature = "async")]
    ("asyncio_server_endings", asyncio::server_endings::CASES),
    #[cfg(feature = "async")]
    ("asyncio_servers", asyncio::servers::CASES),
    #[cfg(all(feature = "async", target_os = "linux"))]
    ("asyncio_short_reads", asyncio::short_reads::CASES),
    #[cfg(all(feature = "async", unix))]
    ("asyncio_signals", asyncio::signals::CASES),
    #[cfg(feature = "async")]
    ("asyncio_sources", asyncio::sources::CASES),
    #[cfg(feature = "async")]
    ("asyncio_streams", asyncio::streams::CASES),
    #[cfg(feature = "async")]
    ("asyncio_task_faults", asyncio::task_faults::CASES),
    #[cfg(feature = "async")]
    ("asyncio_time", asyncio::time::CASES),
    #[cfg(feature = "async")]
    ("asyncio_two_loops", asyncio::two_loops::CASES),
    #[cfg(feature = "async")]
    ("asyncio_uninit_reads", asyncio::uninit_reads::CASES),
    #[cfg(all(feature = "async", target_os = "linux"))]
    ("asyncio_unread_errors", asyncio::unread_errors::CASES),
    #[cfg(feature = "async")]
    ("asyncio_waiting", asyncio::waiting::CASES),
    #[cfg(feature = "async")]
    ("asyncio_writers", asyncio::writers::CASES),
    ("capacity", capacity::CASES),
    ("edge", edge::CASES),
    ("event_loop_accepting", event_loop::accepting::CASES),
    ("event_loop_builder", event_loop::builder::CASES),
    ("event_loop_calls", event_loop::calls::CASES),
    #[cfg(unix)]
    ("event_loop_children", event_loop::children::CASES),
    #[cfg(windows)]
    ("event_loop_children_on_windows", event_loop::children_on_windows::CASES),
    ("event_loop_errors", event_loop::errors::CASES),
    ("event_loop_interests", event_loop::interests::CASES),
    ("event_loop_local", event_loop::local::CASES),
    #[cfg(unix)]
    ("event_loop_nesting", event_loop::nesting::CASES),
    ("event_loop_reentrancy", event_loop::reentrancy::CASES),
    ("event_loop_replaced", event_loop::replaced::CASES),
    #[cfg(unix)]
    ("event_loop_signals", event_loop::signals::CASES),
    ("event_loop_sources", event_loop::sources::CASES),
    ("event_loop_timers", event_loop::timers::CASES),
    ("event_loop_turns", event_loop::turns::CASES),
    #[cfg(unix)]
    ("faults_dropped", faults::dropped::CASES),
    #[cfg(unix)]
    ("faults_exhausted", faults::exhausted::CASES),
    #[cfg(unix)]
    ("faults_forked", faults::forked::CASES),
    #[cfg(target_os = "linux")]
    ("faults_no_memory", faults::no_memory::CASES),
    #[cfg(unix)]
    ("faults_panics", faults::panics::CASES),
    ("faults_peers", faults::peers::CASES),
    #[cfg(target_os = "linux")]
    ("faults_released", faults::released::CASES),
    #[cfg(all(unix, not(any(target_os = "illumos", target_os = "solaris"))))]
    ("faults_ticks", faults::ticks::CASES),
    ("faults_timeouts", faults::timeouts::CASES),
    #[cfg(target_os = "linux")]
    ("faults_vanished", faults::vanished::CASES),
    ("level", level::CASES),
    ("lookup", lookup::CASES),
    ("oneshot", oneshot::CASES),
    ("rebuilding", rebuilding::CASES),
    ("registration", registration::CASES),
    ("removal", removal::CASES),
    ("shared_changes", shared::changes::CASES),
    ("shared_contracts", shared::contracts::CASES),
    #[cfg(unix)]
    ("shared_faults", shared::faults::CASES),
    #[cfg(windows)]
    ("sockets_behind_our_back", sockets_behind_our_back::CASES),
    ("threads", threads::CASES),
    ("timeout", timeout::CASES),
    ("wakers", wakers::CASES),
    #[cfg(unix)]
    ("always_ready", always_ready::CASES),
    #[cfg(unix)]
    ("behind_our_back", behind_our_back::CASES),
    #[cfg(epoll)]
    ("exclusive", exclusive::CASES),
    #[cfg(unix)]
    ("forked_wakes", forked_wakes::CASES),
    #[cfg(unix)]
    ("forks", forks::CASES),
    #[cfg(unix)]
    ("high_descriptors", high_descriptors::CASES),
    #[cfg(target_os = "linux")]
    ("kinds", kinds::CASES),
    #[cfg(unix)]
    ("nesting", nesting::CASES),
    #[cfg(unix)]
    ("pipes", pipes::CASES),
    #[cfg(unix)]
    ("signals", signals::CASES),
];

fn main() -> ExitCode {
    run_all(SUITES)
}
