//! The actions of callbacks, on the loop and on the model.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use polyselect::{Event, EventLoop, Interest, Key, Local, Next, Remote, TimerKey, Watch};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};

use super::super::bytes::Bytes;
use super::expected::{Armed, Due, Expected, Id, Source};

/// Far enough in the future never to be reached.
const NEVER: Duration = Duration::from_secs(1_000_000);

const MOST_SOURCES: usize = 24;
const MOST_ACTIONS: usize = 400;

type Loop = EventLoop<World>;
type Counter = Rc<OwnedFd>;

/// The payload of an intended panic.
pub struct Planned;

struct Watched {
    key: Key,
    counter: Counter,
}

pub struct World {
    /// The actions of callbacks. It is copied for each loop, and read by all of its callbacks.
    decisions: Vec<u8>,
    position: usize,
    actions_left: usize,
    pub expected: Expected,
    pub is_in_turn: bool,
    sources: BTreeMap<Id, Watched>,
    timers: BTreeMap<Id, (TimerKey, Due)>,
    next_id: Id,
    remote: Option<Remote<World>>,
    local: Option<Local<World>>,
    /// All moments up to 256 nanoseconds later are in the past.
    start: Instant,
    /// The source whose error the hook must get.
    failed: Option<Key>,
    /// Every callback holds a clone.
    alive: Rc<()>,
    story: Vec<String>,
}

impl World {
    pub fn new(mut decisions: Bytes<'_>, alive: Rc<()>) -> Self {
        Self {
            decisions: decisions.take(usize::MAX).to_vec(),
            position: 0,
            actions_left: MOST_ACTIONS,
            expected: Expected::new(),
            is_in_turn: false,
            sources: BTreeMap::new(),
            timers: BTreeMap::new(),
            next_id: 0,
            remote: None,
            local: None,
            start: Instant::now(),
            failed: None,
            alive,
            story: Vec::new(),
        }
    }

    pub fn is_over(&self) -> bool {
        self.position >= self.decisions.len() || self.actions_left == 0
    }

    fn byte(&mut self) -> u8 {
        let byte = self.decisions.get(self.position).copied().unwrap_or(0);
        self.position += 1;
        byte
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    fn new_id(&mut self) -> Id {
        self.next_id += 1;
        self.next_id
    }

    /// Records an action; printed if the target fails.
    pub fn log(&mut self, what: String) {
        self.story.push(what);
    }

    fn any_source(&mut self) -> Option<Id> {
        let index = usize::from(self.byte()).checked_rem(self.sources.len())?;
        self.sources.keys().nth(index).copied()
    }

    fn any_timer(&mut self) -> Option<Id> {
        let index = usize::from(self.byte()).checked_rem(self.timers.len())?;
        self.timers.keys().nth(index).copied()
    }

    fn forget_source(&mut self, id: Id) {
        self.sources.remove(&id);
        self.expected.remove_source(id);
    }

    fn add(&mut self, id: Id, amount: u64) {
        write(&*self.sources[&id].counter, &amount.to_ne_bytes()).expect("there is room");
        self.expected.sources.get_mut(&id).expect("is known").count += amount;
    }

    fn drain(&mut self, id: Id) {
        let found = read(&*self.sources[&id].counter, &mut [0_u8; 8]).is_ok();
        let count = mem::take(&mut self.expected.sources.get_mut(&id).expect("is known").count);
        assert_eq!(found, count > 0);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what happened:\n  {}", self.story.join("\n  "));
        }
    }
}

pub fn prepare(event_loop: &mut Loop) {
    // The loop's clock began before this.
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(1) {}
    event_loop.state.start = start;
    event_loop.state.remote = Some(event_loop.remote().expect("opens"));
    event_loop.state.local = Some(event_loop.local());
    event_loop.on_error(|event_loop, key, error| {
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        assert_eq!(event_loop.state.failed.take(), Some(key));
        act(event_loop);
    });
}

/// Performs the next actions that the bytes decide, in a callback or between two iterations.
pub fn act(event_loop: &mut Loop) {
    for _ in 0..event_loop.state.below(4) {
        if event_loop.state.is_over() {
            return;
        }
        event_loop.state.actions_left -= 1;
        action(event_loop);
    }
}

fn action(event_loop: &mut Loop) {
    match event_loop.state.below(16) {
        0..3 => add_source(event_loop),
        3 => {
            if let Some(id) = event_loop.state.any_source() {
                event_loop.state.log(format!("unregister {id}"));
                let key = event_loop.state.sources[&id].key;
                event_loop.state.forget_source(id);
                event_loop.unregister(key).expect("is registered");
                assert!(event_loop.unregister(key).is_err() && !event_loop.contains(key));
            }
        }
        4 => {
            if let Some(id) = event_loop.state.any_source() {
                let interest = interest(&mut event_loop.state);
                event_loop.state.log(format!("modify {id} to {interest:?}"));
                let key = event_loop.state.sources[&id].key;
                event_loop.modify(key, interest).expect("is registered");
                event_loop.state.expected.modify_source(id, interest);
            }
        }
        5 | 6 => {
            if let Some(id) = event_loop.state.any_source() {
                event_loop.state.log(format!("something comes for {id}"));
                event_loop.state.add(id, 1);
            }
        }
        7 => {
            if let Some(id) = event_loop.state.any_source() {
                event_loop.state.log(format!("drain {id}"));
                event_loop.state.drain(id);
            }
        }
        8 | 9 => set_timer(event_loop),
        10 => repeat(event_loop),
        11 => {
            if let Some(id) = event_loop.state.any_timer() {
                event_loop.state.log(format!("cancel {id}"));
                let (key, due) = event_loop.state.timers.remove(&id).expect("is known");
                let is_set = event_loop.state.expected.timers.remove(&due).is_some();
                // A repeating timer can cancel itself while it runs.
                event_loop.cancel(key).unwrap_or_else(|error| panic!("{due:?}, {is_set}: {error}"));
                assert!(event_loop.cancel(key).is_err());
            }
        }
        12 | 13 => {
            let id = event_loop.state.new_id();
            event_loop.state.log(format!("call {id} soon"));
            event_loop.state.expected.queue_call(id);
            let alive = Rc::clone(&event_loop.state.alive);
            event_loop.call_soon(move |event_loop| {
                let _share = alive;
                run_call(event_loop, id);
            });
        }
        14 => {
            let id = event_loop.state.new_id();
            event_loop.state.log(format!("send call {id}"));
            event_loop.state.expected.send_call(id);
            let remote = event_loop.state.remote.clone().expect("is prepared");
            remote.call(move |event_loop| run_call(event_loop, id)).expect("is there");
        }
        _ => match event_loop.state.byte() {
            0 => {
                event_loop.state.log("clear".into());
                event_loop.state.sources.clear();
                let expected = &mut event_loop.state.expected;
                let ids: Vec<_> = expected.sources.keys().copied().collect();
                ids.into_iter().for_each(|id| expected.remove_source(id));
                event_loop.clear().expect("no fork");
            }
            1..=99 => {
                let id = event_loop.state.new_id();
                event_loop.state.log(format!("queue local call {id}"));
                event_loop.state.expected.queue_local_call(id);
                let alive = Rc::clone(&event_loop.state.alive);
                let local = event_loop.state.local.clone().expect("is prepared");
                let call = move |event_loop: &mut Loop| {
                    let _share = alive;
                    run_local_call(event_loop, id);
                };
                local.call(call).expect("is there");
            }
            _ if event_loop.state.is_in_turn => {
                let error = event_loop.turn(Duration::ZERO).expect_err("one is in progress");
                assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
            }
            _ => {}
        },
    }
}

fn interest(world: &mut World) -> Interest {
    let (r, w) = (Interest::READABLE, Interest::WRITABLE);
    [r, r, w, r | w, Interest::empty(), Interest::PRIORITY][world.below(6)]
}

fn add_source(event_loop: &mut Loop) {
    if event_loop.state.sources.len() >= MOST_SOURCES {
        return;
    }
    let id = event_loop.state.new_id();
    let interest = interest(&mut event_loop.state);
    let choice = event_loop.state.byte();
    let (is_oneshot, count) = (choice & 3 == 0, u64::from(choice >> 2 & 1));
    let watch = if is_oneshot { interest.oneshot() } else { Watch::from(interest) };
    event_loop.state.log(format!("register {id} for {watch:?}, {count} waiting"));
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let counter = Rc::new(eventfd(count as u32, flags).expect("there is room"));
    let alive = Rc::clone(&event_loop.state.alive);
    let key = event_loop
        .register(Rc::clone(&counter), watch, move |event_loop, _counter, event| {
            let _share = &alive;
            on_event(event_loop, id, event)
        })
        .expect("is registered");
    let source = Source { interest, is_oneshot, armed: Armed::Yes, count };
    event_loop.state.expected.sources.insert(id, source);
    event_loop.state.sources.insert(id, Watched { key, counter });
}

fn on_event(event_loop: &mut Loop, id: Id, event: Event) -> io::Result<Next> {
    event_loop.state.log(format!("  {id} is ready: {:?}", event.ready));
    event_loop.state.expected.event(id, event.ready);
    assert_eq!(event_loop.state.sources[&id].key, event.key);
    act(event_loop);

    let state = &mut event_loop.state;
    let is_there = state.sources.contains_key(&id);
    match state.below(16) {
        1 => {
            state.log(format!("  {id} removes itself"));
            state.forget_source(id);
            Ok(Next::Remove)
        }
        2 | 3 => {
            let interest = interest(state);
            state.log(format!("  {id} asks for {interest:?}"));
            state.expected.modify_source(id, interest);
            Ok(Next::Modify(interest))
        }
        4 => {
            state.log(format!("  {id} fails"));
            state.forget_source(id);
            state.failed = Some(event.key);
            Err(io::ErrorKind::InvalidData.into())
        }
        5 => {
            state.log(format!("  {id} panics"));
            state.forget_source(id);
            resume_unwind(Box::new(Planned));
        }
        6 => Err(io::ErrorKind::WouldBlock.into()),
        7..12 if is_there => {
            state.drain(id);
            Ok(Next::Keep)
        }
        _ => Ok(Next::Keep),
    }
}

fn set_timer(event_loop: &mut Loop) {
    let id = event_loop.state.new_id();
    let alive = Rc::clone(&event_loop.state.alive);
    let callback = move |event_loop: &mut Loop| {
        let _share = alive;
        event_loop.state.log(format!("  timer {id}"));
        event_loop.state.expected.timer(id);
        event_loop.state.timers.remove(&id);
        act(event_loop);
        panic_perhaps(event_loop, id);
    };
    let state = &mut event_loop.state;
    let moment = state.expected.next_moment();
    let choice = state.byte();
    let (key, due) = match choice % 4 {
        0 => (event_loop.call_later(NEVER, callback), Due::Never(moment)),
        1 => {
            let deadline = state.start + Duration::from_nanos(u64::from(choice));
            (event_loop.call_at(deadline, callback), Due::Past(choice, moment))
        }
        _ => (event_loop.call_later(Duration::ZERO, callback), Due::Now(moment, 0)),
    };
    event_loop.state.log(format!("set timer {id}: {due:?}"));
    event_loop.state.timers.insert(id, (key, due));
    event_loop.state.expected.timers.insert(due, id);
}

fn repeat(event_loop: &mut Loop) {
    let id = event_loop.state.new_id();
    let alive = Rc::clone(&event_loop.state.alive);
    let key = event_loop.call_every(Duration::ZERO, move |event_loop, _key| {
        let _share = &alive;
        event_loop.state.log(format!("  timer {id}, which repeats"));
        let due = event_loop.state.expected.timer(id);
        act(event_loop);
        panic_perhaps(event_loop, id);
        if let Some((_, is_due)) = event_loop.state.timers.get_mut(&id) {
            *is_due = due;
            event_loop.state.expected.timers.insert(due, id);
        }
    });
    let due = Due::Now(event_loop.state.expected.next_moment(), 0);
    event_loop.state.log(format!("set timer {id}, which repeats: {due:?}"));
    event_loop.state.timers.insert(id, (key, due));
    event_loop.state.expected.timers.insert(due, id);
}

fn run_call(event_loop: &mut Loop, id: Id) {
    event_loop.state.log(format!("  call {id}"));
    event_loop.state.expected.call(id);
    act(event_loop);
    panic_perhaps(event_loop, id);
}

fn run_local_call(event_loop: &mut Loop, id: Id) {
    event_loop.state.log(format!("  local call {id}"));
    event_loop.state.expected.local_call(id);
    act(event_loop);
    panic_perhaps(event_loop, id);
}

/// The last action of a callback; one that panics is not called again.
fn panic_perhaps(event_loop: &mut Loop, id: Id) {
    if event_loop.state.below(16) == 5 {
        event_loop.state.log(format!("  {id} panics"));
        event_loop.state.timers.remove(&id);
        resume_unwind(Box::new(Planned));
    }
}

/// Compares the loop's own counts with the model.
pub fn compare(event_loop: &mut Loop) {
    let state = &event_loop.state;
    assert!(state.failed.is_none(), "the hook was not called for an error");
    assert_eq!(event_loop.len(), state.expected.sources.len());
    assert_eq!(event_loop.len(), state.sources.len());
    assert!(state.sources.values().all(|source| event_loop.contains(source.key)));
    assert_eq!(state.timers.len(), state.expected.timers.len());
}
