//! Programs for an event loop, run on every backend of this system: callbacks, timers, calls,
//! signals, children, tasks, streams and servers, compared with a plain model of what each owes.

use polyselect::Backend;

use super::sources::loop_model::program::run;
use super::sources::loop_model::steps::Step;

/// A longer program would make each run too slow.
const LONGEST: usize = 300;

pub fn check(data: &[u8]) {
    let steps = data.chunks(3).map(|bytes| {
        let byte = |position| bytes.get(position).copied().unwrap_or(0);
        match Step::new([byte(0), byte(1), byte(2)]) {
            // Until its program is loaded, a child keeps the files of other targets open.
            Step::WatchChild => Step::End,
            step => step,
        }
    });
    let program: Vec<_> = steps.take(LONGEST).collect();
    for backend in Backend::available() {
        if let Err(wrong) = run(backend, &program) {
            panic!("on {backend}: {wrong}\n{program:?}");
        }
    }
}
