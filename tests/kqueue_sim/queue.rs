//! A queue: its filters, and those of them that are queued.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{c_int, c_void};

use super::abi::*;
use super::filter::{Class, Truth, attach, class_of, look};
use super::state::{Id, Kernel, always};
use super::{eyes, profile};

/// The identifier and the filter.
pub type Key = (usize, i16);

pub struct Queue {
    /// One of its descriptors, an epoll.
    pub number: c_int,
    pub notes: BTreeMap<Key, Note>,
    ready: VecDeque<Key>,
    /// The interest of the epoll in each descriptor.
    masks: BTreeMap<usize, u32>,
    is_shown: bool,
    /// The filters that must be polled: of regular files, whose growth causes no event, and of
    /// queues that are nested more deeply than Linux allows.
    silent: BTreeSet<Key>,
    /// The nesting depth up to this queue; zero if it is not nested.
    level: u32,
}

pub struct Note {
    class: Class,
    /// Device and node of the file, because the descriptor may refer to another file later.
    identity: (u64, u64),
    flags: u16,
    fflags: u32,
    low: i64,
    udata: *mut c_void,
    is_queued: bool,
    is_disabled: bool,
    is_triggered: bool,
    reported: Option<Truth>,
}

// SAFETY: the pointer belongs to the program and is never followed.
unsafe impl Send for Note {}

/// The data of the entry that makes the epoll readable.
const SHOWN: u64 = u64::MAX;

const KEPT: u16 = EV_CLEAR | EV_ONESHOT | EV_DISPATCH;

impl Queue {
    pub fn new(number: c_int) -> Self {
        let this = Self {
            number,
            notes: BTreeMap::new(),
            ready: VecDeque::new(),
            masks: BTreeMap::new(),
            is_shown: false,
            silent: BTreeSet::new(),
            level: 0,
        };
        this.control(libc::EPOLL_CTL_ADD, always(), 0, SHOWN);
        this
    }

    fn control(&self, operation: c_int, number: c_int, mask: u32, data: u64) -> c_int {
        let mut event = libc::epoll_event { events: mask, u64: data };
        // SAFETY: the event lives through the call.
        let result = unsafe { libc::epoll_ctl(self.number, operation, number, &raw mut event) };
        if result == 0 { 0 } else { super::calls::errno() }
    }

    /// Keeps the epoll readable while a filter is queued.
    fn show(&mut self) {
        let is_shown = !self.ready.is_empty();
        if is_shown != self.is_shown {
            self.is_shown = is_shown;
            let mask = if is_shown { libc::EPOLLIN as u32 } else { 0 };
            self.control(libc::EPOLL_CTL_MOD, always(), mask, SHOWN);
        }
    }

    fn enqueue(&mut self, key: Key) {
        let Some(note) = self.notes.get_mut(&key) else { return };
        if !note.is_queued && !note.is_disabled {
            note.is_queued = true;
            self.ready.push_back(key);
            self.show();
        }
    }

    fn remove(&mut self, key: Key) {
        self.silent.remove(&key);
        if self.notes.remove(&key).is_some_and(|note| note.is_queued) {
            self.ready.retain(|queued| *queued != key);
            self.show();
        }
        self.watch(key.0);
    }

    /// Removes the filters of a descriptor that is closed.
    pub fn forget(&mut self, ident: usize) {
        let filters = self.notes.range((ident, i16::MIN)..=(ident, i16::MAX));
        let keys: Vec<_> =
            filters.filter(|(_, note)| note.class != Class::User).map(|(key, _)| *key).collect();
        for key in keys {
            self.remove(key);
        }
    }

    /// Sets the interest of the epoll in a descriptor to the needs of its filters.
    fn watch(&mut self, ident: usize) -> c_int {
        let filters = self.notes.range((ident, i16::MIN)..=(ident, i16::MAX));
        let mask = filters
            .filter(|(_, note)| note.class != Class::User)
            .map(|((_, filter), _)| match *filter {
                EVFILT_READ => libc::EPOLLIN | libc::EPOLLRDHUP,
                EVFILT_WRITE => libc::EPOLLOUT,
                _ => libc::EPOLLPRI | libc::EPOLLRDHUP,
            })
            .reduce(|mask, other| mask | other)
            .map(|mask| mask as u32 | libc::EPOLLET as u32);
        let number = ident as c_int;
        match (self.masks.get(&ident).copied(), mask) {
            (None, None) => 0,
            (Some(before), Some(mask)) if before == mask => 0,
            (None, Some(mask)) => {
                match self.control(libc::EPOLL_CTL_ADD, number, mask, ident as u64) {
                    // A file that never blocks.
                    libc::EPERM => 0,
                    // The descriptor was closed without the program's `close`.
                    libc::EEXIST => {
                        self.masks.insert(ident, mask);
                        self.control(libc::EPOLL_CTL_MOD, number, mask, ident as u64)
                    }
                    0 => {
                        self.masks.insert(ident, mask);
                        0
                    }
                    error => error,
                }
            }
            (Some(_), Some(mask)) => {
                self.masks.insert(ident, mask);
                self.control(libc::EPOLL_CTL_MOD, number, mask, ident as u64)
            }
            (Some(_), None) => {
                self.masks.remove(&ident);
                self.control(libc::EPOLL_CTL_DEL, number, 0, 0)
            }
        }
    }

    /// Returns the descriptors that the epoll has reported since the last call.
    fn seen(&self) -> Vec<usize> {
        let mut seen = Vec::new();
        let mut batch = [libc::epoll_event { events: 0, u64: 0 }; 256];
        loop {
            let room = batch.len() as c_int;
            // SAFETY: the batch has the room that is passed.
            let count = unsafe { libc::epoll_wait(self.number, batch.as_mut_ptr(), room, 0) };
            let count = usize::try_from(count).unwrap_or(0);
            let idents = batch[..count].iter().map(|event| event.u64).filter(|data| *data != SHOWN);
            seen.extend(idents.map(|data| data as usize));
            if count < batch.len() {
                return seen;
            }
        }
    }

    pub fn has_silent(&self) -> bool {
        !self.silent.is_empty()
    }
}

impl Kernel {
    fn queue(&mut self, id: Id) -> &mut Queue {
        self.queues.get_mut(&id).expect("is here")
    }

    /// Whether a filter is true.
    fn look(&mut self, id: Id, key: Key) -> Option<Truth> {
        let note = &self.queue(id).notes[&key];
        let (class, fflags, low) = (note.class, note.fflags, note.low);
        match class {
            Class::User => note.is_triggered.then_some(Truth { fflags, ..Truth::default() }),
            Class::Queue => {
                let inner = self.find(key.0 as c_int)?;
                self.pump(inner);
                let count = self.queue(inner).ready.len() as i64;
                (count > 0).then_some(Truth { data: count, ..Truth::default() })
            }
            class => look(class, key.0 as c_int, key.1, fflags, low),
        }
    }

    /// Queues the filters whose files have reported an event.
    pub fn pump(&mut self, id: Id) {
        for ident in self.queue(id).seen() {
            self.report(id, ident, false);
        }
        let silent: Vec<_> = self.queue(id).silent.iter().map(|key| key.0).collect();
        for ident in silent {
            self.report(id, ident, true);
        }
    }

    /// Queues the true filters of a descriptor; if it was only polled, those whose last reported
    /// state is not true any more.
    fn report(&mut self, id: Id, ident: usize, is_look: bool) {
        let queue = self.queue(id);
        let filters = queue.notes.range((ident, i16::MIN)..=(ident, i16::MAX));
        let keys: Vec<_> = filters.map(|(key, note)| (*key, note.identity)).collect();
        for (key, identity) in keys {
            if identity_of(ident) != identity {
                self.queue(id).remove(key);
                continue;
            }
            let truth = self.look(id, key);
            let queue = self.queue(id);
            if truth.is_some() && !(is_look && truth == queue.notes[&key].reported) {
                queue.enqueue(key);
            }
        }
    }

    /// Applies a change; returns the error number if it fails.
    pub fn register(&mut self, id: Id, change: &kevent) -> Result<(), c_int> {
        let key = (change.ident, change.filter);
        let is_user = change.filter == EVFILT_USER;
        match change.filter {
            EVFILT_READ | EVFILT_WRITE | EVFILT_EXCEPT | EVFILT_USER => {}
            _ => return Err(libc::EINVAL),
        }
        if !is_user && !eyes::is_open(change.ident as c_int) {
            return Err(libc::EBADF);
        }
        self.pump(id);
        let identity = identity_of(change.ident);
        if !is_user && self.queue(id).notes.get(&key).is_some_and(|note| note.identity != identity)
        {
            self.queue(id).forget(change.ident);
        }
        let is_there = self.queue(id).notes.contains_key(&key);
        if change.flags & EV_DELETE != 0 {
            if !is_there {
                return Err(libc::ENOENT);
            }
            self.queue(id).remove(key);
            self.swallow(id, change.ident);
            return Ok(());
        }
        if !is_there {
            if change.flags & EV_ADD == 0 {
                return Err(libc::ENOENT);
            }
            self.attach(id, change, identity)?;
        }
        let queue = self.queue(id);
        let note = queue.notes.get_mut(&key).expect("was there or attached");
        note.udata = change.udata;
        if change.flags & EV_ADD != 0 || is_user {
            note.flags |= change.flags & KEPT;
            note.fflags = change.fflags & !NOTE_TRIGGER;
            note.low = change.data;
            note.is_triggered |= change.fflags & NOTE_TRIGGER != 0;
        }
        if change.flags & EV_DISABLE != 0 {
            note.is_disabled = true;
        }
        let is_enabled = change.flags & EV_ENABLE != 0;
        if is_enabled || change.flags & EV_ADD != 0 && change.flags & EV_DISABLE == 0 {
            note.is_disabled = false;
        }
        // On some systems a plain `EV_ENABLE` does not check the filter.
        let looks = change.flags & EV_ADD != 0 || is_user || is_enabled && profile().enable_reports;
        if looks && self.look(id, key).is_some() {
            self.queue(id).enqueue(key);
        }
        Ok(())
    }

    fn attach(&mut self, id: Id, change: &kevent, identity: (u64, u64)) -> Result<(), c_int> {
        let number = change.ident as c_int;
        let class = match self.find(number) {
            _ if change.filter == EVFILT_USER => Class::User,
            Some(inner) if inner == id => return Err(libc::EINVAL),
            Some(_) => Class::Queue,
            None => class_of(number),
        };
        attach(class, number, change.filter)?;
        let mut is_silent = class == Class::File;
        if class == Class::Queue {
            let inner = self.find(number).expect("is a queue");
            is_silent = self.nest(inner, id)?;
        }
        let queue = self.queue(id);
        queue.notes.insert(
            (change.ident, change.filter),
            Note {
                class,
                identity,
                flags: 0,
                fflags: 0,
                low: 0,
                udata: change.udata,
                is_queued: false,
                is_disabled: false,
                is_triggered: false,
                reported: None,
            },
        );
        if is_silent {
            queue.silent.insert((change.ident, change.filter));
        }
        if class != Class::User {
            let error = queue.watch(change.ident);
            if class == Class::Queue && [libc::EINVAL, libc::ELOOP].contains(&error) {
                queue.silent.insert((change.ident, change.filter));
            } else if error != 0 {
                queue.remove((change.ident, change.filter));
                return Err(error);
            }
        }
        self.swallow(id, change.ident);
        Ok(())
    }

    /// Nests a queue in another one; returns whether it must be polled. The rule is macOS's: each
    /// queue has a level, which is higher than those of the queues inside.
    fn nest(&mut self, inner: Id, outer: Id) -> Result<bool, c_int> {
        let level = self.queue(inner).level.max(1);
        let before = self.queue(outer).level;
        let limit = profile().nested.unwrap_or(u32::MAX);
        if before > 0 && before < level || before <= level && level >= limit {
            return Err(libc::EINVAL);
        }
        self.queue(inner).level = level;
        self.queue(outer).level = before.max(level + 1);
        Ok(self.queue(inner).has_silent())
    }

    /// Consumes events that the epoll reports only because its entry has changed.
    fn swallow(&mut self, id: Id, changed: usize) {
        for ident in self.queue(id).seen() {
            self.report(id, ident, ident == changed);
        }
    }

    /// Takes up to `room` events, in turn.
    pub fn scan(&mut self, id: Id, room: usize) -> Vec<kevent> {
        self.pump(id);
        let mut events = Vec::new();
        for _ in 0..self.queue(id).ready.len() {
            if events.len() == room {
                break;
            }
            let Some(key) = self.queue(id).ready.pop_front() else { break };
            let truth = self.look(id, key);
            let queue = self.queue(id);
            let note = queue.notes.get_mut(&key).expect("is removed from both");
            note.is_queued = false;
            if note.is_disabled {
                continue;
            }
            let truth = match truth {
                Some(truth) => truth,
                // A one-shot is reported even if it is not true any more.
                None if note.flags & EV_ONESHOT != 0 => Truth::default(),
                None => {
                    note.reported = None;
                    continue;
                }
            };
            events.push(kevent {
                ident: key.0,
                filter: key.1,
                flags: note.flags | if truth.is_eof { EV_EOF } else { 0 },
                fflags: truth.fflags,
                data: truth.data,
                udata: note.udata,
            });
            note.reported = Some(truth);
            if note.flags & EV_ONESHOT != 0 {
                queue.remove(key);
            } else if note.flags & EV_DISPATCH != 0 {
                note.is_disabled = true;
            } else if note.flags & EV_CLEAR != 0 {
                note.is_triggered = false;
            } else {
                queue.enqueue(key);
            }
        }
        self.queue(id).show();
        events
    }
}

fn identity_of(ident: usize) -> (u64, u64) {
    eyes::stat(ident as c_int).map_or((0, 0), |status| (status.st_dev, status.st_ino))
}
