//! Children: each callback runs once, with the status of its child.

use std::cell::{Cell, RefCell};
use std::process::{Command, ExitStatus};
use std::rc::Rc;

use polyselect::ChildKey;

use super::world::{Loop, World, pick};

/// On Windows starting one takes as long as some programs.
const MOST_CHILDREN: usize = if cfg!(windows) { 1 } else { 3 };

struct Child {
    id: usize,
    key: Option<ChildKey>,
}

#[derive(Default)]
pub struct Children {
    watched: RefCell<Vec<Child>>,
    started: Cell<usize>,
}

impl Children {
    pub fn are_owed(&self) -> bool {
        !self.watched.borrow().is_empty()
    }

    pub fn have_started(&self) -> bool {
        self.started.get() > 0
    }
}

impl World {
    pub fn watch_child(self: &Rc<Self>, event_loop: &mut Loop) {
        let started = &self.children.started;
        if started.get() >= MOST_CHILDREN {
            return;
        }
        started.set(started.get() + 1);
        let (id, world) = (self.new_id(), Rc::clone(self));
        self.children.watched.borrow_mut().push(Child { id, key: None });
        let mut command = Command::new(if cfg!(windows) { "cmd" } else { "true" });
        if cfg!(windows) {
            command.args(["/c", "exit 0"]);
        }
        let child = command.spawn().expect("starts");
        let key = event_loop.watch_child(child, move |event_loop, status| {
            let is_known = world.forget_child(id);
            world.check(is_known, || format!("the callback of child {id} runs after its end"));
            let is_success = status.as_ref().is_ok_and(ExitStatus::success);
            world.check(is_success, || format!("child {id}: {status:?}"));
            world.act_and_panic(Some(event_loop));
        });
        let mut watched = self.children.watched.borrow_mut();
        let child = watched.iter_mut().find(|child| child.id == id).expect("no callback has run");
        child.key = Some(key.expect("is watched"));
    }

    fn forget_child(&self, id: usize) -> bool {
        let mut watched = self.children.watched.borrow_mut();
        let position = watched.iter().position(|child| child.id == id);
        position.map(|position| watched.remove(position)).is_some()
    }

    pub fn take_child(&self, which: usize, event_loop: &mut Loop) {
        let length = self.children.watched.borrow().len();
        let Some(position) = pick(which, length) else { return };
        let Child { id, key } = self.children.watched.borrow_mut().remove(position);
        let taken = event_loop.take_child(key.expect("is watched"));
        match taken.and_then(|mut child| child.wait()) {
            Ok(status) => self.check(status.success(), || format!("child {id}: {status}")),
            Err(error) => self.wrong(format!("take_child of child {id}: {error}")),
        }
    }
}
