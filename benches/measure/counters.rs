//! What a debugger counts: instructions and system calls of this program, started anew.

use std::io;
use std::process::Command;

/// User-space instructions that this program executes with these arguments, as callgrind counts
/// them; `None` where valgrind is not installed.
pub fn instructions(arguments: &[String]) -> io::Result<Option<u64>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(arguments)
        .output();
    let output = match output {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        output => output?,
    };
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
    let output = Command::new("strace")
        .args(["-f", "-c", "-U", "name,calls", "--"])
        .arg(std::env::current_exe()?)
        .args(arguments)
        .output();
    let output = match output {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        output => output?,
    };
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
