//! Ends a program that hangs.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{panic, process, thread};

use super::steps::Step;

/// Longer than every wait of a program together.
const LONGEST: Duration = Duration::from_secs(120);

#[derive(Default)]
pub struct Watchdog {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The running program, and its deadline.
    running: Option<(Instant, String, Vec<Step>)>,
    is_over: bool,
}

impl Watchdog {
    /// Runs `work` beside a thread that watches its programs.
    pub fn beside<R>(work: impl FnOnce(&Self) -> R) -> R {
        let watchdog = &Self::default();
        thread::scope(|scope| {
            scope.spawn(|| watchdog.watch());
            let result = panic::catch_unwind(panic::AssertUnwindSafe(|| work(watchdog)));
            watchdog.change(|state| state.is_over = true);
            result.unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// Runs one program; if it hangs, aborts the process with a message that contains the program.
    pub fn guard<R>(&self, name: &str, program: &[Step], run: impl FnOnce() -> R) -> R {
        let running = (Instant::now() + LONGEST, name.to_owned(), program.to_vec());
        self.change(|state| state.running = Some(running));
        let result = run();
        self.change(|state| state.running = None);
        result
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn watch(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.is_over {
            let mut left = LONGEST;
            if let Some((deadline, name, program)) = &state.running {
                left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    eprintln!("{name}: this program does not end:\n{program:#?}");
                    process::abort();
                }
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
