//! Each recipe, on every backend, and real clients that talk to it. A test whose client is not installed is listed as ignored.

mod descriptors;
mod downloads;
mod errors;
mod http;
mod length;
mod postgres;
mod support;
mod tls;
mod websocket;
#[cfg(target_os = "linux")]
mod zoo;

use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use polyselect::Backend;

/// A test, and the programs that it cannot do without.
type Case = (&'static str, &'static str, fn(Backend) -> Result<(), Failed>);

const CASES: &[&[Case]] = &[
    descriptors::CASES,
    downloads::CASES,
    http::CASES,
    postgres::CASES,
    tls::CASES,
    websocket::CASES,
    #[cfg(target_os = "linux")]
    zoo::CASES,
];

fn is_installed(program: &str) -> bool {
    let version = if program == "openssl" { "version" } else { "--version" };
    let mut command = Command::new(program);
    command.arg(version).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = length::trials();
    trials.extend(errors::trials());
    for &(name, programs, test) in CASES.iter().copied().flatten() {
        let missing = programs.split_whitespace().find(|program| !is_installed(program));
        for backend in Backend::available() {
            trials.push(Trial::ignorable_test(format!("{backend}::{name}"), move || {
                if let Some(program) = missing {
                    return Ok(Completion::ignored_with(format!("{program} is not installed")));
                }
                test(backend).map(|()| support::completion())
            }));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    postgres::stop();
    conclusion.exit_code()
}
