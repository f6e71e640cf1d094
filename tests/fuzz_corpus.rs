//! The fuzz targets of `fuzz/` on stable Rust: each runs its kept corpus, and then random mutations
//! of it for some time. An input that fails is kept and reported.
//!
//! ```text
//! cargo test --test fuzz_corpus
//! POLYSELECT_FUZZ_SECONDS=60 cargo test --release --test fuzz_corpus -- timer_wheel
//! POLYSELECT_FUZZ_INPUT=some/file cargo test --test fuzz_corpus -- timer_wheel
//! ```

#[cfg(target_os = "linux")]
#[path = "../fuzz/targets/mod.rs"]
mod targets;

#[cfg(target_os = "linux")]
#[path = "../fuzz/runner/mod.rs"]
mod runner;

// The paths by which the included files refer to each other.
#[cfg(target_os = "linux")]
#[allow(unused_imports)] // The wheel's own tests do not run here.
use targets::sources::{common, request, timer};

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    runner::run_all()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: the targets are for Linux");
}
