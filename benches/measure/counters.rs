//! Figures of another process of this program, from itself or from a debugger: time, instructions and system calls.

use std::io;
use std::process::{Command, Output};

/// Returns the figure that this program prints with these arguments. A new process has fresh memory: the address of a
/// ring's buffers changes the cost of an event by up to a third here.
pub fn figure(arguments: &[String]) -> io::Result<f64> {
    let output = Command::new(std::env::current_exe()?).args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.trim().parse() {
        Ok(figure) if output.status.success() => Ok(figure),
        _ => Err(io::Error::other(format!("{said}{}", String::from_utf8_lossy(&output.stderr)))),
    }
}

/// Runs this program under another, which may not be installed.
fn under(tool: &str, options: &[&str], arguments: &[String]) -> io::Result<Option<Output>> {
    let mut command = Command::new(tool);
    match command.args(options).arg(std::env::current_exe()?).args(arguments).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        output => output.map(Some),
    }
}

/// User-space instructions that this program executes with these arguments, as callgrind counts
/// them; `None` where valgrind is not installed.
pub fn instructions(arguments: &[String]) -> io::Result<Option<u64>> {
    let callgrind = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let Some(output) = under("valgrind", &callgrind, arguments)? else { return Ok(None) };
    let report = String::from_utf8_lossy(&output.stderr);
    let total = report.lines().find_map(|line| line.split_once("Collected :"));
    match total.and_then(|(_, total)| total.trim().parse().ok()) {
        Some(total) if output.status.success() => Ok(Some(total)),
        _ => Err(io::Error::other(format!("callgrind: {report}"))),
    }
}

/// System calls that this program makes with these arguments, by name, as strace counts them;
/// `None` where strace is not installed.
pub fn system_calls(arguments: &[String]) -> io::Result<Option<Vec<(String, u64)>>> {
    let counting = ["-f", "-c", "-U", "name,calls", "--"];
    let Some(output) = under("strace", &counting, arguments)? else { return Ok(None) };
    let report = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(io::Error::other(format!("strace: {report}")));
    }
    let rows = report.lines().filter_map(|line| {
        let (name, calls) = line.trim().split_once(char::is_whitespace)?;
        Some((name.to_owned(), calls.trim().parse().ok()?))
    });
    Ok(Some(rows.filter(|(name, _)| name != "total").collect()))
}
