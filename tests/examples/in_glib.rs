use libtest_mimic::{Failed, Trial};
use polyselect::Backend;

use crate::in_tokio::nesting;
use crate::support::example;
use crate::support::subject::{Busy, Subject};

static SUBJECT: Subject = Subject { example: "in_glib", answer: <[u8]>::to_vec };

pub fn trials() -> Vec<Trial> {
    let refused = ("a_backend_without_a_descriptor_is_an_error", a_backend_is_refused as _);
    let mut trials = SUBJECT.own(&[refused]);
    match error_of_a_refused_backend() {
        Ok(error) if error.contains("is not installed") => println!("in_glib: skipped, {error}"),
        _ => {
            trials.extend(SUBJECT.trials(nesting()));
            let shared = "callbacks_of_both_loops_take_turns";
            trials.extend(SUBJECT.own_on(nesting(), shared, callbacks_take_turns));
        }
    }
    trials
}

/// The inner loop is always busy, and glib's timer still expires.
fn callbacks_take_turns(backend: Backend) -> Result<(), Failed> {
    let server = SUBJECT.start(backend);
    let busy = Busy::connect(server.address)?;
    let bytes = |line: String| line.split(' ').next().map(str::parse::<u64>);
    let mut counts = Vec::new();
    while counts.len() < 2 {
        counts.push(bytes(server.expect_line("bytes echoed")).ok_or("a number")??);
    }
    assert!(counts[0] <= counts[1] && counts[1] > 0, "{counts:?}");
    busy.stop()?;
    server.stop();
    Ok(())
}

fn error_of_a_refused_backend() -> Result<String, Failed> {
    let output =
        example("in_glib").args(["--addr", "127.0.0.1:0", "--backend", "poll"]).output()?;
    assert!(!output.status.success());
    Ok(String::from_utf8(output.stderr)?)
}

fn a_backend_is_refused() -> Result<(), Failed> {
    let error = error_of_a_refused_backend()?;
    assert!(
        error.contains("does not support nesting") || error.contains("is not installed"),
        "{error}"
    );
    Ok(())
}
