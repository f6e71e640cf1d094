//! Faults of a program's environment: `docs/reliability.md` lists them, and those whose tests are
//! with their subject.

#[cfg(unix)]
pub mod dropped;
#[cfg(unix)]
pub mod exhausted;
#[cfg(unix)]
pub mod forked;
#[cfg(target_os = "linux")]
pub mod no_memory;
#[cfg(unix)]
pub mod panics;
pub mod peers;
#[cfg(target_os = "linux")]
pub mod released;
#[cfg(all(unix, not(any(target_os = "illumos", target_os = "solaris"))))]
pub mod ticks;
pub mod timeouts;
#[cfg(target_os = "linux")]
pub mod vanished;
