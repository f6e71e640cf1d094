//! The `asyncio` module, on every backend.

suites! {
    mod connecting;
    mod coroutines;
    mod groups;
    #[cfg(unix)]
    mod hang_ups;
    mod limits;
    mod processes;
    #[cfg(unix)]
    mod processes_on_unix;
    mod server_endings;
    mod servers;
    #[cfg(target_os = "linux")]
    mod short_reads;
    #[cfg(unix)]
    mod signals;
    mod sources;
    mod streams;
    mod task_faults;
    mod threads;
    mod time;
    mod two_loops;
    mod uninit_reads;
    #[cfg(target_os = "linux")]
    mod unread_errors;
    mod waiting;
    mod writers;
}

use std::io;

use polyselect::asyncio::{self, Async};
use rustix::fd::AsFd;

use crate::support::{A_WHILE, disorder};

/// Waits until a source without data is readable, in vain, which registers it. A spurious edge ends
/// such a wait.
async fn wait_in_vain<S: AsFd + 'static>(source: &Async<S>) {
    let waited: Result<io::Result<()>, _> = asyncio::timeout(A_WHILE, source.readable()).await;
    match waited {
        Err(_elapsed) => {}
        Ok(result) => {
            result.unwrap();
            assert!(disorder::is_asked_for(), "a source without data is readable");
        }
    }
}

/// More than the kernel buffers for a peer that does not read.
const MORE_THAN_FITS: usize = 30_000_000;
