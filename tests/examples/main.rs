//! The examples as a user runs them: the real binaries, talked to by real clients.
//!
//! ```text
//! cargo test --test examples
//! cargo test --test examples -- echo_selector
//! ```

mod backends;
mod support;

#[cfg(unix)]
mod echo_selector;
#[cfg(unix)]
mod select_servers;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

const EXAMPLES: &[fn() -> Vec<Trial>] = &[
    backends::trials,
    #[cfg(unix)]
    echo_selector::trials,
    #[cfg(unix)]
    select_servers::trials,
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.list {
        support::build_examples();
    }
    let trials = EXAMPLES.iter().flat_map(|trials| trials()).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
