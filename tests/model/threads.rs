//! The threads on which a program runs in turn.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Sender, channel};
use std::thread::Scope;

/// The thread on which a program continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Home,
    /// A thread that lives as long as the program.
    First,
    Second,
    /// A new thread, which ends with the next move.
    Passing,
}

type Job<'scope> = Box<dyn FnOnce() + Send + 'scope>;

/// Threads that are started when a program first moves there.
pub struct Threads<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    living: [Option<Sender<Job<'scope>>>; 2],
}

impl<'scope, 'env> Threads<'scope, 'env> {
    pub fn new(scope: &'scope Scope<'scope, 'env>) -> Self {
        Self { scope, living: [None, None] }
    }

    /// Runs `work` there, and waits for its end.
    pub fn execute<R: Send + 'scope>(
        &mut self,
        place: Place,
        work: impl FnOnce() -> R + Send + 'scope,
    ) -> R {
        let living = match place {
            Place::Home => return work(),
            Place::Passing => {
                let thread = self.scope.spawn(work);
                return thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            }
            Place::First => 0,
            Place::Second => 1,
        };
        let worker = self.living[living].get_or_insert_with(|| {
            let (sender, jobs) = channel::<Job<'scope>>();
            self.scope.spawn(move || jobs.into_iter().for_each(|job| job()));
            sender
        });
        let (sender, result) = channel();
        let job = move || drop(sender.send(catch_unwind(AssertUnwindSafe(work))));
        worker.send(Box::new(job)).expect("the thread lives");
        let result = result.recv().expect("the thread answers");
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}
