//! Programs for a selector, and the conditions that hold after each step.

use polyselect::{Backend, Interest, Key, Ready, Selector, Watch};

use super::child::Child;
use super::dimensions::Dimension;
use super::faults::{Failure, Setting, kevent};
use super::forks::ChildStep;
use super::nesting::Nested;
use super::subject::{Kind, Source, Subject};
use super::threads::{Place, Threads};

pub type Sel = Selector<Source, usize>;

/// The number of subjects: more than a backend reports at once.
pub const PLACES: usize = 30;

#[derive(Clone, Copy, Debug)]
pub enum Mode {
    Level,
    Oneshot,
    Edge,
    EdgeOneshot,
}

impl Mode {
    pub fn of(self, interest: Interest) -> Watch {
        match self {
            Self::Level => interest.into(),
            Self::Oneshot => interest.oneshot(),
            Self::Edge => interest.edge(),
            Self::EdgeOneshot => interest.edge().oneshot(),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Step {
    Register(usize, Interest, Mode),
    Modify(usize, Interest),
    SetWatch(usize, Interest, Mode),
    Unregister(usize),
    Send(usize, usize),
    Receive(usize, usize),
    Fill(usize),
    Drain(usize),
    ShutDown(usize),
    /// Fills a stream, and shuts it down in both directions.
    HangUpFull(usize),
    ClosePeer(usize),
    /// Drops a subject; its replacement has its descriptor's number.
    Replace(usize, Kind),
    /// Drops a subject; a stranger that is never registered takes its descriptor's number.
    Estrange(usize),
    /// Sends to all of them.
    SendAll,
    Select(usize),
    /// Pauses every ready registration, and waits for a moment.
    Idle,
    Wake,
    Rebuild,
    RebuildWith(usize),
    /// Makes a system call of the backend fail, the one at this position of its list.
    Fail(usize, Failure),
    /// Continues in another thread.
    Move(Place),
    /// Requests a descriptor of the selector.
    Nest,
    /// Runs a child that works with its copy, and waits for its end.
    Fork(Vec<ChildStep>),
    /// Starts a child that keeps its copy until the next fork or the end.
    ForkAndLive,
}

impl Step {
    fn dimension(&self) -> Option<Dimension> {
        Some(match self {
            Self::SetWatch(..) => Dimension::Watches,
            Self::HangUpFull(_) => Dimension::HangUps,
            Self::Estrange(_) => Dimension::Strangers,
            Self::Idle => Dimension::Idleness,
            Self::Fail(..) => Dimension::Faults,
            Self::Move(_) => Dimension::Threads,
            Self::Nest => Dimension::Nesting,
            Self::Fork(_) | Self::ForkAndLive => Dimension::Forks,
            _ => return None,
        })
    }
}

pub type Outcome = Result<(), String>;

/// Runs a program, and returns the step that failed.
pub fn run(setting: Setting<'_>, program: &[Step], selector: Sel) -> Outcome {
    let mut steps: Vec<_> = program.iter().enumerate().collect();
    steps.retain(|(_, step)| {
        // Beside other tests a child would keep their files open.
        step.dimension().is_none_or(|dimension| {
            let can_fork = setting.own_descriptors.is_some();
            dimension.is_enabled() && (can_fork || dimension != Dimension::Forks)
        })
    });
    if let Some(injector) = setting.injector {
        injector.reset();
    }
    kevent::disarm();
    let mut run = Run::new(setting, selector);
    std::thread::scope(|scope| {
        let mut threads = Threads::new(scope);
        // Each piece but the first begins with a move.
        for piece in steps.chunk_by(|_, (_, next)| !matches!(next, Step::Move(_))) {
            let place = match piece[0].1 {
                Step::Move(place) => *place,
                _ => Place::Home,
            };
            run = threads.execute(place, move || {
                for &(index, step) in piece {
                    let outcome = run.step(step).and_then(|()| run.check_nested());
                    let on = run.selector.backend();
                    outcome.map_err(|wrong| format!("step {index}, {step:?}: {wrong}, on {on}"))?;
                }
                Ok::<_, String>(run)
            })?;
        }
        kevent::disarm();
        run.finish().map_err(|wrong| format!("at the end: {wrong}"))
    })
}

/// Whether the events of a registration are predictable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Sound,
    /// The kernel may have rejected a change; a wait that succeeds reports `INVALID` if it did.
    Unsure,
    /// `INVALID` was reported: silent until the next change.
    Refused,
    /// `INVALID` may have been superseded by a change or a rebuild: anything is right until the
    /// next change.
    Free,
}

/// A registration, and the events that it owes.
#[derive(Debug)]
pub struct Registered {
    pub key: Key,
    pub watch: Watch,
    /// Whether a one-shot is armed.
    pub armed: bool,
    /// The readiness that an edge must report, if it still holds.
    pub due: Ready,
    pub standing: Standing,
    /// Whether an `INVALID` event may result from a change before the last one.
    pub superseded: bool,
    /// Whether a change has not been part of a wait that succeeded.
    pub changed: bool,
    /// The number of events of others that were reported while this one was ready and was not.
    pub passed_over: usize,
}

impl Registered {
    /// The state after a change that the library has accepted.
    pub fn change(&mut self, watch: Watch, truth: Ready, failed: bool) {
        (self.watch, self.armed, self.due, self.changed) = (watch, true, truth, true);
        self.superseded = matches!(self.standing, Standing::Unsure | Standing::Free);
        let is_unsure = failed || self.superseded;
        self.standing = if is_unsure { Standing::Unsure } else { Standing::Sound };
    }
}

pub struct Run<'a> {
    pub selector: Sel,
    pub setting: Setting<'a>,
    pub subjects: Vec<Subject>,
    pub registered: Vec<Option<Registered>>,
    pub strangers: Vec<Subject>,
    pub nested: Option<Nested>,
    /// Whether a system call has failed since the last wait that succeeded.
    pub has_just_failed: bool,
    pub living_child: Option<Child>,
    /// Whether there has been a ring that the library could only close.
    pub has_left_ring: bool,
    pub has_moved: bool,
    pub has_waker: bool,
    pub woken: bool,
    /// Whether a system call has ever failed.
    pub has_failed: bool,
    /// Whether the next wait may report the error of the last one.
    pub owes_error: bool,
}

impl<'a> Run<'a> {
    fn new(setting: Setting<'a>, mut selector: Sel) -> Self {
        let has_waker = setting.injector.is_none();
        if has_waker {
            selector.waker().expect("opens");
        }
        Self {
            selector,
            setting,
            subjects: (0..PLACES).map(|place| Subject::new(Kind::FIRST[place % 4])).collect(),
            registered: (0..PLACES).map(|_| None).collect(),
            strangers: Vec::new(),
            nested: None,
            has_just_failed: false,
            living_child: None,
            has_left_ring: false,
            has_moved: false,
            has_waker,
            woken: false,
            has_failed: false,
            owes_error: false,
        }
    }

    pub fn step(&mut self, step: &Step) -> Outcome {
        match *step {
            Step::Register(place, interest, mode) => self.register(place, mode.of(interest))?,
            Step::Modify(place, interest) => self.modify(place, interest)?,
            Step::SetWatch(place, interest, mode) => self.set_watch(place, mode.of(interest))?,
            Step::Unregister(place) => self.unregister(place)?,
            Step::Send(place, amount) => {
                if self.subjects[place].send(amount) {
                    self.due(place, Ready::READABLE);
                }
            }
            Step::SendAll => {
                for place in 0..PLACES {
                    self.step(&Step::Send(place, 1))?;
                }
            }
            Step::Receive(place, amount) => self.subjects[place].receive(amount),
            Step::Fill(place) => self.subjects[place].fill(),
            Step::Drain(place) => {
                if self.subjects[place].drain() {
                    self.due(place, Ready::WRITABLE);
                }
            }
            Step::ShutDown(place) => {
                if self.subjects[place].shut_down() {
                    self.due(place, Ready::READABLE);
                }
            }
            Step::HangUpFull(place) => {
                if self.subjects[place].hang_up_full() {
                    self.due(place, Ready::READABLE | Ready::WRITABLE);
                }
            }
            Step::ClosePeer(place) => {
                if self.subjects[place].close_peer() {
                    self.due(place, Ready::READABLE | Ready::WRITABLE);
                }
            }
            Step::Replace(place, kind) => self.replace(place, kind)?,
            Step::Estrange(place) => self.estrange(place)?,
            Step::Wake => self.wake()?,
            Step::Select(capacity) => self.select(capacity)?,
            Step::Idle => self.idle()?,
            Step::Rebuild => self.rebuild(self.selector.backend())?,
            Step::RebuildWith(index) => {
                let available: Vec<_> = Backend::available().collect();
                self.rebuild(available[index % available.len()])?;
            }
            Step::Fail(index, failure) => self.arm(index, failure),
            Step::Move(_) => {
                self.has_moved = true;
                self.has_left_ring |= self.has_ring();
                self.check_own_descriptors()?;
            }
            Step::Nest => self.nest()?,
            Step::Fork(ref steps) => self.fork(steps)?,
            Step::ForkAndLive => self.fork_and_live()?,
        }
        Ok(())
    }
}
