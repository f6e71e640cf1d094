use libtest_mimic::{Failed, Trial};
use polyselect::Backend;

use crate::support::example;
use crate::support::subject::{Busy, Subject};

static SUBJECT: Subject = Subject { example: "in_tokio", answer: <[u8]>::to_vec };

/// The backends with a descriptor. The outer loop waits on the real kernel, which does not see all
/// events of a simulated one.
pub(crate) fn nesting() -> impl Iterator<Item = Backend> {
    let is_simulated = |backend| cfg!(kqueue_sim) && backend == Backend::Kqueue;
    Backend::available()
        .filter(move |&backend| backend.capabilities().nesting && !is_simulated(backend))
}

pub fn trials() -> Vec<Trial> {
    let mut trials = SUBJECT.trials(nesting());
    let shared = "callbacks_and_tasks_take_turns";
    trials.extend(SUBJECT.own_on(nesting(), shared, callbacks_and_tasks_take_turns));
    let refused = ("a_backend_without_a_descriptor_is_an_error", a_backend_is_refused as _);
    trials.extend(SUBJECT.own(&[refused]));
    trials
}

/// The loop is always busy, and the runtime's timer still expires.
fn callbacks_and_tasks_take_turns(backend: Backend) -> Result<(), Failed> {
    let server = SUBJECT.start(backend);
    let busy = Busy::connect(server.address)?;
    let bytes = |line: String| line.split(' ').next().map(str::parse::<u64>);
    let mut before = 0;
    for _ in 0..2 {
        let now = bytes(server.expect_line("bytes echoed")).ok_or("a number")??;
        assert!(now >= before);
        before = now;
    }
    assert!(before > 0);
    busy.stop()?;
    server.stop();
    Ok(())
}

fn a_backend_is_refused() -> Result<(), Failed> {
    let mut command = example("in_tokio");
    command.args(["--addr", "127.0.0.1:0", "--backend", "poll"]);
    let output = command.output()?;
    let error = String::from_utf8(output.stderr)?;
    assert!(!output.status.success() && error.contains("does not support nesting"), "{error}");
    Ok(())
}
