//! One suite, run once per backend: a selector behaves the same on all of them.
//!
//! Each case runs in a process of its own, so that it may fork, raise signals and limits and count
//! descriptors; a watchdog ends one that hangs. A backend that lacks a capability of a case skips
//! it, with the reason. The name of a case starts with its backend:
//!
//! ```text
//! cargo test --test conformance
//! cargo test --test conformance -- select::
//! cargo test --test conformance -- --exact poll::level::a_level_is_true_at_the_end_of_the_wait
//! ```

#[macro_use]
mod support;

use std::process::ExitCode;

suites! {
    mod accepting;
    #[cfg(unix)]
    mod always_ready;
    #[cfg(feature = "async")]
    mod asyncio;
    mod behind_our_back;
    mod capacity;
    mod edge;
    mod event_loop;
    #[cfg(epoll)]
    mod exclusive;
    mod faults;
    #[cfg(unix)]
    mod forked_wakes;
    #[cfg(unix)]
    mod forks;
    #[cfg(unix)]
    mod high_descriptors;
    #[cfg(any(target_os = "linux", windows))]
    mod kinds;
    mod level;
    mod lookup;
    #[cfg(unix)]
    mod nesting;
    mod oneshot;
    #[cfg(unix)]
    mod pipes;
    mod rebuilding;
    mod registration;
    mod removal;
    mod shared;
    #[cfg(unix)]
    mod signals;
    mod threads;
    mod timeout;
    mod wakers;
}

fn main() -> ExitCode {
    #[cfg(feature = "async")]
    support::program::play();
    support::harness::run_all(&SUITE)
}
