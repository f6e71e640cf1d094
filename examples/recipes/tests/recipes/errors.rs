//! An error is one line of plain text.

use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};

const RECIPES: &[(&str, &str)] = &[
    ("curl_multi", env!("CARGO_BIN_EXE_curl_multi")),
    ("http_hyper", env!("CARGO_BIN_EXE_http_hyper")),
    ("pass_descriptors", env!("CARGO_BIN_EXE_pass_descriptors")),
    ("psql_notify", env!("CARGO_BIN_EXE_psql_notify")),
    ("tls_proxy", env!("CARGO_BIN_EXE_tls_proxy")),
    ("tls_server", env!("CARGO_BIN_EXE_tls_server")),
    ("websocket_chat", env!("CARGO_BIN_EXE_websocket_chat")),
    #[cfg(target_os = "linux")]
    ("zoo", env!("CARGO_BIN_EXE_zoo")),
];

pub fn trials() -> Vec<Trial> {
    let trial = |&(name, program): &(&str, &'static str)| {
        Trial::test(format!("{name}_reports_missing_arguments_in_one_line"), move || {
            is_plain(program)
        })
    };
    RECIPES.iter().map(trial).collect()
}

fn is_plain(program: &str) -> Result<(), Failed> {
    let output = Command::new(program).stdin(Stdio::null()).output()?;
    let error = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.starts_with("Error: usage: ") && error.lines().count() == 1, "{error}");
    Ok(())
}
