//! blocking_modes: each mode is recognized by its result, not by its speed.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use libtest_mimic::{Failed, Trial};

use crate::support::{example, wait};

pub fn trials() -> Vec<Trial> {
    vec![Trial::test("blocking_modes::shows_the_three", shows_the_three)]
}

fn shows_the_three() -> Result<(), Failed> {
    let mut child = example("blocking_modes").stdout(Stdio::piped()).spawn()?;
    // Nothing is sent before the third read: if one of the first two blocked, the program would
    // hang.
    let status = wait(&mut child);
    let output = BufReader::new(child.stdout.take().ok_or("a pipe")?);
    let lines = output.lines().collect::<Result<Vec<_>, _>>()?;
    assert!(status.success(), "{lines:?}");
    let [_, non_blocking, timeout, blocking] = &lines[..] else { return Err("four lines".into()) };
    milliseconds(non_blocking, "non-blocking: WouldBlock after ")?;
    // The timeout is 200 ms, which some systems shorten by the elapsed part of a tick.
    let waited = milliseconds(timeout, "timeout: WouldBlock after ")?;
    assert!(waited >= 150, "{timeout}");
    // The data is sent after the timeout would have elapsed.
    milliseconds(blocking, "blocking: \"hello\" after ")?;
    Ok(())
}

fn milliseconds(line: &str, expected: &str) -> Result<u64, Failed> {
    let rest = line.strip_prefix(expected).ok_or(format!("{line:?}, not {expected:?}"))?;
    Ok(rest.split(' ').next().unwrap_or_default().parse()?)
}
