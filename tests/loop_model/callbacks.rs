//! Calls: each runs exactly once, in the order in which it was queued.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use super::world::{Loop, World};

/// Calls that have not run: their names, and the iterations in which they were queued.
type Queue = RefCell<VecDeque<(usize, u64)>>;

#[derive(Default)]
pub struct Calls {
    soon: Queue,
    local: Queue,
    remote: Queue,
}

impl Calls {
    fn queues(&self) -> [(&'static str, &Queue); 3] {
        [("call_soon", &self.soon), ("Local", &self.local), ("Remote", &self.remote)]
    }

    /// Whether the next iteration must not wait.
    pub fn are_owed(&self) -> bool {
        self.queues().iter().any(|(_, queue)| !queue.borrow().is_empty())
    }
}

impl World {
    fn queue(&self, queue: &Queue) -> usize {
        let id = self.new_id();
        queue.borrow_mut().push_back((id, self.turn.get()));
        id
    }

    fn called(&self, name: &str, queue: &Queue, id: usize) {
        let first = queue.borrow_mut().pop_front().map(|(id, _)| id);
        self.check(first == Some(id), || format!("{name}: call {id} runs, and {first:?} is due"));
    }

    pub fn call_soon(self: &Rc<Self>, event_loop: &mut Loop) {
        let (world, id) = (Rc::clone(self), self.queue(&self.calls.soon));
        event_loop.call_soon(move |event_loop| {
            world.called("call_soon", &world.calls.soon, id);
            world.act_and_panic(Some(event_loop));
        });
    }

    pub fn call_local(self: &Rc<Self>) {
        self.call_local_with(|_, _| {});
    }

    /// Queues a call of `Local` that performs this before steps.
    pub fn call_local_with(self: &Rc<Self>, first: impl FnOnce(&Rc<Self>, &mut Loop) + 'static) {
        let Some(local) = self.local.borrow().clone() else { return };
        let (world, id) = (Rc::clone(self), self.queue(&self.calls.local));
        let result = local.call(move |event_loop| {
            world.called("Local", &world.calls.local, id);
            first(&world, event_loop);
            world.act_and_panic(Some(event_loop));
        });
        // Only a loop that is being dropped rejects it.
        self.check(result.is_ok() || self.is_ending.get(), || format!("Local: {result:?}"));
    }

    pub fn call_remote(self: &Rc<Self>) {
        let Some(remote) = self.remote.borrow().clone() else { return };
        let (id, share) = (self.queue(&self.calls.remote), Arc::clone(&self.of_threads));
        let call = move |event_loop: &mut Loop| {
            let (world, _share) = (Rc::clone(&event_loop.state), share);
            world.called("Remote", &world.calls.remote, id);
            world.act_and_panic(Some(event_loop));
        };
        let _outside = self.lab.outside();
        let result = thread::scope(|scope| scope.spawn(move || remote.call(call)).join());
        let result = result.expect("the thread ends");
        self.check(result.is_ok() || self.is_ending.get(), || format!("Remote: {result:?}"));
    }

    /// Checks the calls after an iteration that ended normally.
    pub fn check_calls(&self) {
        for (name, queue) in self.calls.queues() {
            if let Some(&(id, turn)) = queue.borrow().front() {
                let missing = || format!("{name}: call {id} of iteration {turn} has not run");
                let late = if name == "Remote" { self.lab.late_calls } else { 0 };
                self.check(turn + late >= self.turn.get(), missing);
            }
        }
    }
}
