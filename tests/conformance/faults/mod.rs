//! Faults of a program's environment: `docs/reliability.md` lists them, and those whose tests are
//! with their subject.

suites! {
    mod dropped;
    #[cfg(unix)]
    mod exhausted;
    #[cfg(unix)]
    mod forked;
    #[cfg(target_os = "linux")]
    mod no_memory;
    #[cfg(unix)]
    mod panics;
    mod peers;
    #[cfg(target_os = "linux")]
    mod released;
    #[cfg(all(unix, not(any(target_os = "illumos", target_os = "solaris"))))]
    mod ticks;
    mod timeouts;
    #[cfg(target_os = "linux")]
    mod vanished;
}
