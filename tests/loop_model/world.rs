//! The state that a program shares with its callbacks: the steps that are left, the parts of the loop, and the first failure.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use polyselect::{Backend, EventLoop, Local, Next, Remote};

use super::callbacks::Calls;
use super::children::Children;
use super::clients::Clients;
use super::lab::Lab;
#[cfg(windows)]
use super::outside::Processes;
use super::pipes::Pipes;
#[cfg(unix)]
use super::processes::Processes;
use super::servers::Servers;
use super::signals::Signals;
use super::sources::Sources;
use super::steps::{Answer, Step};
use super::tasks::Tasks;
use super::timers::Timers;
use super::wakers::Wakers;

pub type Loop = EventLoop<Rc<World>>;

/// The payload of a panic that a step asked for.
pub struct Planned;

pub fn panic_as_planned() -> ! {
    resume_unwind(Box::new(Planned))
}

/// The limit of nested steps in destructors.
const DEEPEST: usize = 6;

pub struct World {
    pub backend: Backend,
    pub lab: Lab,
    program: Vec<Step>,
    position: Cell<usize>,
    depth: Cell<usize>,
    wrong: RefCell<Option<String>>,
    /// Counts the iterations, including those that panicked.
    pub turn: Cell<u64>,
    pub turn_began: Cell<Instant>,
    pub is_in_turn: Cell<bool>,
    pub calls: Calls,
    pub timers: Timers,
    pub sources: Sources,
    pub signals: Signals,
    pub children: Children,
    pub processes: Processes,
    pub tasks: Tasks,
    pub pipes: Pipes,
    pub servers: Servers,
    pub clients: Clients,
    pub wakers: Wakers,
    pub local: RefCell<Option<Local<Rc<World>>>>,
    pub remote: RefCell<Option<Remote<Rc<World>>>>,
    /// The answer of the callback that is running.
    pub answer: Cell<Option<Answer>>,
    /// The loop that a callback has replaced by another.
    pub replaced: RefCell<Option<Loop>>,
    pub block_on: Cell<Option<usize>>,
    pub is_dropped_at_end: Cell<bool>,
    pub is_ending: Cell<bool>,
    /// Every call of another thread, and all of its work, holds a clone.
    pub of_threads: Arc<()>,
    next_id: Cell<usize>,
}

impl World {
    pub fn new(backend: Backend, program: &[Step]) -> Rc<Self> {
        let lab = Lab::new(&program);
        Rc::new(Self {
            backend,
            program: program.to_vec(),
            position: Cell::new(0),
            depth: Cell::new(0),
            wrong: RefCell::default(),
            turn: Cell::new(1),
            turn_began: Cell::new(lab.now()),
            is_in_turn: Cell::new(false),
            lab,
            calls: Calls::default(),
            timers: Timers::default(),
            sources: Sources::default(),
            signals: Signals::default(),
            children: Children::default(),
            processes: Processes::default(),
            tasks: Tasks::default(),
            pipes: Pipes::default(),
            servers: Servers::default(),
            clients: Clients::default(),
            wakers: Wakers::default(),
            local: RefCell::default(),
            remote: RefCell::default(),
            answer: Cell::new(None),
            replaced: RefCell::default(),
            block_on: Cell::new(None),
            is_dropped_at_end: Cell::new(false),
            is_ending: Cell::new(false),
            of_threads: Arc::default(),
            next_id: Cell::new(0),
        })
    }

    /// Returns the present time on the loop's clock.
    pub fn now(&self) -> Instant {
        self.lab.now()
    }

    pub fn new_id(&self) -> usize {
        self.next_id.set(self.next_id.get() + 1);
        self.next_id.get()
    }

    /// Keeps the first failure, with the step that was reached.
    pub fn wrong(&self, what: impl fmt::Display) {
        let position = self.position.get();
        let first = || format!("{what} (after {position} steps, in iteration {})", self.turn.get());
        self.wrong.borrow_mut().get_or_insert_with(first);
    }

    pub fn check(&self, is_right: bool, what: impl FnOnce() -> String) {
        if !is_right {
            self.wrong(what());
        }
    }

    pub fn outcome(&self) -> Result<(), String> {
        self.wrong.borrow().clone().map_or(Ok(()), Err)
    }

    pub fn has_steps(&self) -> bool {
        self.position.get() < self.program.len()
    }

    /// The next step of this block.
    fn next_step(&self) -> Option<Step> {
        let step = *self.program.get(self.position.get())?;
        self.position.set(self.position.get() + 1);
        (!matches!(step, Step::End)).then_some(step)
    }

    /// Performs a block of steps, and returns whether it has to end with a panic.
    #[must_use]
    pub fn act(self: &Rc<Self>, mut event_loop: Option<&mut Loop>) -> bool {
        if self.depth.get() >= DEEPEST || self.is_ending.get() {
            return false;
        }
        self.depth.set(self.depth.get() + 1);
        let mut panics = false;
        while let Some(step) = self.next_step() {
            panics = matches!(step, Step::Panic);
            if panics {
                break;
            }
            let perform = || self.perform(step, event_loop.as_deref_mut());
            // A destructor of a value that the step drops may panic.
            match catch_unwind(AssertUnwindSafe(perform)) {
                Ok(()) => {}
                Err(panic) if panic.is::<Planned>() => panics = true,
                Err(panic) => resume_unwind(panic),
            }
            if panics || self.replaced.borrow().is_some() && event_loop.is_some() {
                break;
            }
        }
        self.depth.set(self.depth.get() - 1);
        panics
    }

    /// Performs a block of steps in user code that owns nothing which a panic would drop.
    pub fn act_and_panic(self: &Rc<Self>, event_loop: Option<&mut Loop>) {
        if self.act(event_loop) {
            panic_as_planned();
        }
    }

    pub fn act_when_dropped(self: &Rc<Self>) {
        // A second panic would abort the process.
        if !thread::panicking() {
            self.act_and_panic(None);
        }
    }

    fn perform(self: &Rc<Self>, step: Step, event_loop: Option<&mut Loop>) {
        match (step, event_loop) {
            (Step::End | Step::Panic, _) => {}
            (Step::Answer(answer), _) => self.answer.set(Some(answer)),
            (Step::Send(which, count), _) => self.sources.send(which, count),
            (Step::HangUp(which), _) => self.sources.hang_up(which),
            (Step::CallLocal, _) => self.call_local(),
            (Step::CallRemote, _) => self.call_remote(),
            (Step::CancelTask(which), _) => self.tasks.cancel(which, self.turn.get()),
            (Step::DropHandle(which), _) => self.tasks.drop_handle(which, self.turn.get()),
            (Step::Detach(which), _) => self.tasks.detach(which),
            (Step::NewPipe(kind), _) => self.new_pipe(kind),
            (Step::SendInto(which, count), _) => self.pipes.send(which, count),
            (Step::SendUrgent(which), _) => self.pipes.send_urgent(which),
            (Step::HangUpPipe(which), _) => self.pipes.hang_up(which),
            (Step::DropPipe(which), _) => self.pipes.drop_one(which),
            (Step::PollPipe(which), _) => self.pipes.poll(which),
            (Step::Connect(which, fate), _) => self.connect(which, fate),
            (Step::ClientSend(which, count), _) => self.clients.send(which, count),
            (Step::CloseClient(which), _) => self.clients.close(which),
            (Step::DropServer(which), _) => self.drop_server(which),
            (Step::BlockOn(polls), _) => self.block_on.set(Some(polls)),
            (Step::DropAtEnd, _) => self.is_dropped_at_end.set(true),
            (Step::Raise(which), _) => self.raise(which),
            (Step::Spawn(work), event_loop) => self.spawn(work, event_loop),
            (Step::Register(kind, interest), Some(event_loop)) => {
                self.register(kind, interest, event_loop);
            }
            (Step::Modify(which, interest), Some(event_loop)) => {
                self.modify(which, interest, event_loop);
            }
            (Step::Unregister(which), Some(event_loop)) => self.unregister(which, event_loop),
            (Step::Take(which), Some(event_loop)) => self.take(which, event_loop),
            (Step::CallSoon, Some(event_loop)) => self.call_soon(event_loop),
            (Step::CallLater(delay), Some(event_loop)) => self.call_later(delay, event_loop),
            (Step::CallEvery(period), Some(event_loop)) => self.call_every(period, event_loop),
            (Step::CancelTimer(which), Some(event_loop)) => self.cancel_timer(which, event_loop),
            (Step::OnSignal(which), Some(event_loop)) => self.on_signal(which, event_loop),
            (Step::RemoveSignal(which), Some(event_loop)) => self.remove_signal(which, event_loop),
            (Step::WatchChild, Some(event_loop)) => self.watch_child(event_loop),
            (Step::TakeChild(which), Some(event_loop)) => self.take_child(which, event_loop),
            (Step::ReplaceLoop, Some(event_loop)) => self.replace_loop(event_loop),
            (Step::Stop, Some(event_loop)) => event_loop.stop(),
            (Step::RebuildWith(which), Some(event_loop)) => {
                let available: Vec<_> = Backend::available().collect();
                let result = event_loop.rebuild_with(available[which % available.len()]);
                self.check(result.is_ok(), || format!("rebuild_with: {result:?}"));
            }
            (_, None) => {}
        }
    }

    fn replace_loop(self: &Rc<Self>, event_loop: &mut Loop) {
        // Between two iterations it would not reach the loop.
        if self.is_in_turn.get() {
            let other = new_loop(self);
            *self.replaced.borrow_mut() = Some(std::mem::replace(event_loop, other));
        }
    }

    /// Releases the program's values: destructors may run steps.
    pub fn release(&self) {
        drop((self.local.take(), self.remote.take()));
        self.clients.release();
        self.servers.release();
        self.tasks.release();
        self.pipes.release();
        self.sources.release();
    }
}

pub fn new_loop(world: &Rc<World>) -> Loop {
    world.lab.open(world.backend, Rc::clone(world)).expect("opens")
}

pub fn next_of(answer: Option<Answer>) -> std::io::Result<Next> {
    match answer {
        None => Ok(Next::Keep),
        Some(Answer::Remove) => Ok(Next::Remove),
        Some(Answer::Modify(interest)) => Ok(Next::Modify(interest)),
        Some(Answer::Fail) => Err(std::io::Error::other("as planned")),
    }
}

/// The entry with this number, modulo the length.
pub fn pick(which: usize, length: usize) -> Option<usize> {
    which.checked_rem(length)
}
