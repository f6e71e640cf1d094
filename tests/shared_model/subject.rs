//! A selector on the protocol and on the kernel of the model, and threads that use it.

use std::io;
use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use crate::environment::PLACE;
use crate::kernel::{Batch, File, Interest, Kernel, Set, Token, Waker};
use crate::protocol::{Needs, Protocol};

pub const IN: Interest = 1;
pub const OUT: Interest = 2;

/// The kernel object of a selector, or `None` for a backend that the waiting thread takes along.
pub type Object = Option<usize>;
pub const LIVE: Object = Some(0);
pub const LENT: Object = None;

pub struct Shared {
    pub kernel: Arc<Kernel>,
    pub protocol: Protocol<Set>,
}

impl Shared {
    pub fn new(object: Object) -> Arc<Self> {
        let kernel = Kernel::new();
        let waker = Waker::new(&kernel);
        let protocol = Protocol::new(Set::new(&kernel, object), waker);
        let shared = Arc::new(Self { kernel, protocol });
        // The first wait needs the lock. The tests begin with a wait that does not.
        shared.select(Some(Duration::ZERO)).unwrap();
        shared
    }

    pub fn change<R>(
        &self,
        needs: impl Fn(&Set) -> Needs,
        change: impl FnOnce(&mut Set) -> R,
    ) -> R {
        let result = self.protocol.change((), needs, |set, ()| change(set));
        result.unwrap_or_else(|(error, ())| panic!("{error}"))
    }

    pub fn register(&self, file: File, interest: Interest) {
        self.change(|_| Needs::Backend, |set| set.register(file, interest));
    }

    /// Returns whether the file was registered. The kernel does not hold it then.
    pub fn unregister(&self, file: File) -> bool {
        let was_there = self.change(|set| set.removal_needs(file), |set| set.unregister(file));
        assert!(!was_there || !self.kernel.holds(file), "the kernel still holds the file");
        was_there
    }

    pub fn modify(&self, file: File, interest: Interest) {
        self.change(|_| Needs::Nothing, |set| set.modify(file, interest));
    }

    pub fn move_to(&self, object: Object) {
        self.change(|_| Needs::NoWait, |set| set.move_to(object));
    }

    pub fn select(&self, timeout: Option<Duration>) -> io::Result<Vec<Token>> {
        let mut batch = Batch { events: Vec::new(), kernel: Arc::clone(&self.kernel) };
        self.protocol.select(&mut batch, timeout)?;
        Ok(batch.events)
    }

    /// Waits until each of these has been reported, and ends all readiness.
    pub fn expect(&self, expected: &[(File, Interest)]) {
        let mut missing = expected.to_vec();
        while !missing.is_empty() {
            for token in self.select(None).unwrap() {
                self.kernel.consume(token);
                missing
                    .retain(|&(file, interest)| (file, interest) != (token.file, token.interest));
            }
        }
    }
}

pub fn spawn(shared: &Arc<Shared>, work: fn(&Shared)) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        PLACE.with(|place| place.set(2));
        work(&shared);
    })
}

pub fn model(preemptions: usize, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(check);
}
