//! The queues of the process, and their descriptors.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::eyes;
use super::queue::Queue;

/// Identifies a queue for as long as the process runs.
pub type Id = u64;

pub struct Kernel {
    pub queues: BTreeMap<Id, Queue>,
    /// The known descriptors of each queue. Duplicates are found when they are used.
    numbers: BTreeMap<c_int, Id>,
    next: Id,
}

static KERNEL: Mutex<Kernel> =
    Mutex::new(Kernel { queues: BTreeMap::new(), numbers: BTreeMap::new(), next: 0 });

pub fn lock() -> MutexGuard<'static, Kernel> {
    KERNEL.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A descriptor that is always readable: inside a queue's epoll it makes the queue readable. It is
/// opened before the program begins, so that no test counts it as a leak.
static ALWAYS: AtomicI32 = AtomicI32::new(-1);

extern "C" fn open_always() {
    // SAFETY: opens a descriptor, and moves it out of the way of those that tests count.
    unsafe {
        let low = libc::eventfd(1, libc::EFD_CLOEXEC);
        ALWAYS.store(libc::fcntl(low, libc::F_DUPFD_CLOEXEC, 1000), Ordering::Relaxed);
        libc::syscall(libc::SYS_close, low);
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static OPEN_ALWAYS: extern "C" fn() = open_always;

/// Opens it again in a table of descriptors that a thread has for itself.
#[unsafe(no_mangle)]
pub extern "C" fn kqueue_sim_new_table() {
    open_always();
}

pub fn always() -> c_int {
    ALWAYS.load(Ordering::Relaxed)
}

impl Kernel {
    pub fn open(&mut self) -> c_int {
        // SAFETY: opens an epoll. As a kqueue it is not closed by `exec` unless that is asked for.
        let number = unsafe { libc::epoll_create1(0) };
        if number >= 0 {
            self.numbers.insert(number, self.next);
            self.queues.insert(self.next, Queue::new(number));
            self.next += 1;
        }
        number
    }

    /// Returns the queue of a descriptor.
    pub fn find(&mut self, number: c_int) -> Option<Id> {
        if let Some(&id) = self.numbers.get(&number) {
            if self.queues.get(&id).is_some_and(|queue| eyes::is_same_file(number, queue.number)) {
                return Some(id);
            }
            self.numbers.remove(&number);
        }
        let known = self.queues.iter().find(|(_, queue)| eyes::is_same_file(number, queue.number));
        let id = *known?.0;
        self.numbers.insert(number, id);
        Some(id)
    }

    /// Handles the imminent close of a descriptor: removes its filters, and the queue if it is the
    /// last of one.
    pub fn forget(&mut self, number: c_int) {
        if self.queues.is_empty() {
            return;
        }
        for queue in self.queues.values_mut() {
            queue.forget(number as usize);
        }
        let Some(id) = self.numbers.remove(&number) else { return };
        let queue = &self.queues[&id];
        if queue.number != number && eyes::is_same_file(number, queue.number) {
            return;
        }
        match self.duplicate_of(number) {
            Some(other) => {
                self.numbers.insert(other, id);
                self.queues.get_mut(&id).expect("is here").number = other;
            }
            None => drop(self.queues.remove(&id)),
        }
    }

    fn duplicate_of(&self, number: c_int) -> Option<c_int> {
        let highest = self.numbers.keys().last().copied().unwrap_or(0).max(number) + 256;
        (0..highest).find(|&other| other != number && eyes::is_same_file(number, other))
    }

    /// `fork` does not inherit a queue: its descriptors are closed in the child.
    pub fn end_in_child(&mut self) {
        let numbers: Vec<_> = self.numbers.keys().copied().collect();
        for number in numbers {
            while let Some(other) = self.duplicate_of(number) {
                // SAFETY: a descriptor of this process that a kernel would not have given it.
                unsafe { libc::syscall(libc::SYS_close, other) };
            }
            // SAFETY: as above.
            unsafe { libc::syscall(libc::SYS_close, number) };
        }
        self.numbers.clear();
        self.queues.clear();
    }
}
