//! The examples as a user runs them: the real binaries, talked to by real clients.
//!
//! ```text
//! cargo test --test examples
//! cargo test --test examples -- echo_selector
//! ```

mod support;

#[cfg(unix)]
mod echo_selector;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.list {
        support::build_examples();
    }
    let mut trials: Vec<Trial> = Vec::new();
    #[cfg(unix)]
    trials.extend(echo_selector::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}
