//! Ends a wait that has a reason to return and does not.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{panic, process, thread};

use polyselect::Waker;

use super::wait::PATIENCE;

#[derive(Default)]
pub struct Watchdog {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The wait in progress: its deadline, and the means to end it.
    wait: Option<(Instant, Waker)>,
    has_woken: bool,
    is_over: bool,
}

impl Watchdog {
    /// Runs `work` beside a thread that watches its waits.
    pub fn beside<R>(work: impl FnOnce(&Self) -> R) -> R {
        let watchdog = &Self::default();
        thread::scope(|scope| {
            scope.spawn(|| watchdog.watch());
            let result = panic::catch_unwind(panic::AssertUnwindSafe(|| work(watchdog)));
            watchdog.change(|state| state.is_over = true);
            result.unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// Runs a wait, and returns whether it had to be ended.
    pub fn guard<R>(&self, waker: Waker, wait: impl FnOnce() -> R) -> (R, bool) {
        self.change(|state| state.wait = Some((Instant::now() + PATIENCE, waker)));
        let result = wait();
        let mut has_woken = false;
        self.change(|state| {
            state.wait = None;
            has_woken = std::mem::take(&mut state.has_woken);
        });
        (result, has_woken)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn watch(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.is_over {
            let left = match &state.wait {
                Some((deadline, _)) => deadline.saturating_duration_since(Instant::now()),
                None => Duration::MAX,
            };
            if !left.is_zero() {
                let waited = self.changed.wait_timeout(state, left.min(PATIENCE));
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            if state.has_woken {
                eprintln!("a wait that has a reason to return does not, and no waker ends it");
                process::abort();
            }
            state.has_woken = true;
            if let Some((deadline, waker)) = &mut state.wait {
                let _ = waker.wake();
                *deadline += PATIENCE;
            }
        }
    }
}
