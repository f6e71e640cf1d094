//! The `asyncio` module, on every backend.

pub mod connecting;
pub mod coroutines;
pub mod groups;
#[cfg(unix)]
pub mod hang_ups;
pub mod limits;
#[cfg(unix)]
pub mod processes;
pub mod server_endings;
pub mod servers;
#[cfg(target_os = "linux")]
pub mod short_reads;
#[cfg(unix)]
pub mod signals;
pub mod sources;
pub mod streams;
pub mod task_faults;
pub mod threads;
pub mod time;
pub mod two_loops;
pub mod uninit_reads;
#[cfg(target_os = "linux")]
pub mod unread_errors;
pub mod waiting;
pub mod writers;

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
