//! Clients written in Python.

use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::{Completion, Failed};

use super::Server;

/// Finds Python, and a program of the clients' folder; `None` where Python is not installed.
fn python(client: &str) -> Option<Command> {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|v| v.status.success());
    found.then(|| {
        let clients = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        let mut python = Command::new("python3");
        python.arg(clients.join(client));
        python
    })
}

/// Runs a Python client that opens this number of connections, sends this number of bytes on each,
/// and expects them back.
pub fn talk_with_python(
    client: &str,
    start: impl FnOnce() -> Server,
    connections: usize,
    bytes: usize,
) -> Result<Completion, Failed> {
    let Some(mut client) = python(client) else {
        return Ok(Completion::ignored_with("python3 is not installed"));
    };
    let server = start();
    let (host, port) = (server.address.ip().to_string(), server.address.port().to_string());
    let output = client.args([host, port, connections.to_string(), bytes.to_string()]).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    let expected = format!("ok {}\n", connections * bytes);
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{error}");
    server.stop();
    Ok(Completion::Completed)
}
