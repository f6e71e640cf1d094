//! Wakers whose owners are counted, and wakers that panic.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

use super::world::panic_as_planned;

/// Only notes that it was woken.
#[derive(Default)]
struct Counted(AtomicBool);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        if !std::thread::panicking() {
            panic_as_planned();
        }
    }
}

/// The wakers that a program has handed out.
#[derive(Default)]
pub struct Wakers {
    counted: RefCell<Vec<Weak<Counted>>>,
    panicking: RefCell<Vec<Weak<Panicking>>>,
}

/// A waker, and the count of its owners.
pub struct Count(Weak<Counted>);

impl Count {
    pub fn owners(&self) -> usize {
        self.0.strong_count()
    }
}

impl Wakers {
    pub fn counted(&self) -> (Waker, Count) {
        let waker = Arc::new(Counted::default());
        self.counted.borrow_mut().push(Arc::downgrade(&waker));
        let count = Count(Arc::downgrade(&waker));
        (waker.into(), count)
    }

    pub fn panicking(&self) -> Waker {
        let waker = Arc::new(Panicking);
        self.panicking.borrow_mut().push(Arc::downgrade(&waker));
        waker.into()
    }

    /// Returns the number of them that have an owner.
    pub fn left(&self) -> usize {
        let counted = self.counted.borrow().iter().filter(|waker| waker.strong_count() > 0).count();
        let panicking = self.panicking.borrow();
        counted + panicking.iter().filter(|waker| waker.strong_count() > 0).count()
    }
}
