//! Random programs, and what must be true after each step.

use std::io;
use std::time::{Duration, Instant};

use polyselect::{Backend, Events, Interest, Key, Ready, Selector, Watch};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

use super::subject::{Kind, Source, Subject};

type Sel = Selector<Source, usize>;

/// So many subjects are there at a time: more than a mechanism hands out at once.
const PLACES: usize = 30;

#[derive(Clone, Copy, Debug)]
enum Mode {
    Level,
    Oneshot,
    Edge,
    EdgeOneshot,
}

#[derive(Clone, Debug)]
enum Step {
    Register(usize, Interest, Mode),
    Modify(usize, Interest),
    Unregister(usize),
    Send(usize, usize),
    Receive(usize, usize),
    Fill(usize),
    Drain(usize),
    ShutDown(usize),
    ClosePeer(usize),
    /// Drops a subject; the one that takes its place has its descriptor's number.
    Replace(usize, Kind),
    /// Something comes for all of them.
    SendAll,
    Select(usize),
    Wake,
    Rebuild,
    RebuildWith(usize),
}

fn interest() -> impl Strategy<Value = Interest> {
    const R: Interest = Interest::READABLE;
    const W: Interest = Interest::WRITABLE;
    prop_oneof![
        4 => Just(R),
        2 => Just(W),
        3 => Just(R.union(W)),
        1 => Just(Interest::empty()),
        1 => Just(Interest::PRIORITY),
        1 => Just(R.union(Interest::PRIORITY)),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        4 => Just(Mode::Level),
        2 => Just(Mode::Oneshot),
        2 => Just(Mode::Edge),
        1 => Just(Mode::EdgeOneshot),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Stream),
        2 => Just(Kind::PipeReader),
        2 => Just(Kind::PipeWriter),
        1 => Just(Kind::Counter),
        1 => Just(Kind::Listener),
        1 => Just(Kind::File),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let place = || 0..PLACES;
    prop_oneof![
        12 => (place(), interest(), mode()).prop_map(|(p, i, m)| Step::Register(p, i, m)),
        8 => (place(), interest()).prop_map(|(p, i)| Step::Modify(p, i)),
        5 => place().prop_map(Step::Unregister),
        12 => (place(), 1..40_usize).prop_map(|(p, n)| Step::Send(p, n)),
        10 => (place(), 1..80_usize).prop_map(|(p, n)| Step::Receive(p, n)),
        3 => place().prop_map(Step::Fill),
        3 => place().prop_map(Step::Drain),
        2 => place().prop_map(Step::ShutDown),
        2 => place().prop_map(Step::ClosePeer),
        3 => (place(), kind()).prop_map(|(p, k)| Step::Replace(p, k)),
        1 => Just(Step::SendAll),
        16 => prop_oneof![Just(64_usize), Just(64), 1..8_usize].prop_map(Step::Select),
        2 => Just(Step::Wake),
        1 => Just(Step::Rebuild),
        1 => (0..8_usize).prop_map(Step::RebuildWith),
    ]
}

/// Runs random programs on selectors that `open` makes.
pub fn check(name: &str, open: impl Fn() -> io::Result<Sel>) {
    let programs = std::env::var("POLYSELECT_MODEL_PROGRAMS").ok();
    let programs = programs.map_or(300, |programs| programs.parse().expect("a number"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model/regressions.txt");
    let config = Config {
        cases: programs,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(path))),
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let strategy = proptest::collection::vec(step(), 1..250);
    let steps = std::cell::Cell::new(0);
    let start = Instant::now();
    let result = TestRunner::new(config).run(&strategy, |program| {
        steps.set(steps.get() + program.len());
        let mut run = Run::new(open().expect("opens"));
        for (index, step) in program.iter().enumerate() {
            run.step(step).map_err(|wrong| {
                TestCaseError::fail(format!("{name}, step {index}, {step:?}: {wrong}"))
            })?;
        }
        Ok(())
    });
    println!("{name}: {} steps in {:?}", steps.get(), start.elapsed());
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// A registration, and what it is due to report.
struct Registered {
    key: Key,
    watch: Watch,
    /// Whether a one-shot has not fired.
    armed: bool,
    /// What an edge must report, if it still holds.
    due: Ready,
}

struct Run {
    selector: Sel,
    subjects: Vec<Subject>,
    registered: Vec<Option<Registered>>,
    woken: bool,
}

type Outcome = Result<(), String>;

const GUARANTEED: Ready = Ready::READABLE.union(Ready::WRITABLE).union(Ready::PRIORITY);

impl Run {
    fn new(mut selector: Sel) -> Self {
        selector.waker().expect("opens");
        let kinds = [Kind::Stream, Kind::PipeReader, Kind::PipeWriter, Kind::Counter];
        let subjects = (0..PLACES).map(|place| Subject::new(kinds[place % 4])).collect();
        let registered = (0..PLACES).map(|_| None).collect();
        Self { selector, subjects, registered, woken: false }
    }

    fn step(&mut self, step: &Step) -> Outcome {
        match *step {
            Step::Register(place, interest, mode) => return self.register(place, interest, mode),
            Step::Modify(place, interest) => return self.modify(place, interest),
            Step::Unregister(place) => return self.unregister(place),
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
            Step::ClosePeer(place) => {
                if self.subjects[place].close_peer() {
                    self.due(place, Ready::READABLE | Ready::WRITABLE);
                }
            }
            Step::Replace(place, kind) => {
                self.unregister(place)?;
                self.subjects[place] = Subject::new(kind);
            }
            Step::Wake => {
                self.selector.waker().and_then(|waker| waker.wake()).map_err(|e| e.to_string())?;
                self.woken = true;
            }
            Step::Select(capacity) => return self.select(capacity),
            Step::Rebuild => return self.rebuild(self.selector.backend()),
            Step::RebuildWith(index) => {
                let available: Vec<_> = Backend::available().collect();
                return self.rebuild(available[index % available.len()]);
            }
        }
        Ok(())
    }

    /// An edge happened.
    fn due(&mut self, place: usize, ready: Ready) {
        if let Some(registered) = &mut self.registered[place] {
            registered.due |= ready;
        }
    }

    fn register(&mut self, place: usize, interest: Interest, mode: Mode) -> Outcome {
        let watch = match mode {
            Mode::Level => interest.into(),
            Mode::Oneshot => interest.oneshot(),
            Mode::Edge => interest.edge(),
            Mode::EdgeOneshot => interest.edge().oneshot(),
        };
        let source = self.subjects[place].source().clone();
        let taken = self.registered[place].is_some();
        let able = !watch.is_edge() || self.selector.backend().abilities().edge;
        match self.selector.register(source, watch, place) {
            Ok(_) if taken => Err("registered twice".into()),
            Ok(_) if !able => Err("took a mode that it lacks".into()),
            Ok(key) => {
                let due = self.subjects[place].truth(interest);
                self.registered[place] = Some(Registered { key, watch, armed: true, due });
                Ok(())
            }
            Err(error) => match error.error().kind() {
                io::ErrorKind::AlreadyExists if taken => Ok(()),
                io::ErrorKind::Unsupported if !able && !taken => Ok(()),
                _ => Err(error.to_string()),
            },
        }
    }

    fn modify(&mut self, place: usize, interest: Interest) -> Outcome {
        let Some(registered) = &mut self.registered[place] else { return Ok(()) };
        self.selector.modify(registered.key, interest).map_err(|error| error.to_string())?;
        // The mode stays; `Watch` offers no way to say so but by its parts.
        let mut watch = Watch::from(interest);
        watch = if registered.watch.is_edge() { watch.edge() } else { watch };
        watch = if registered.watch.is_oneshot() { watch.oneshot() } else { watch };
        if self.selector[registered.key].watch() != watch {
            return Err(format!(
                "{:?} instead of {watch:?}",
                self.selector[registered.key].watch()
            ));
        }
        registered.watch = watch;
        registered.armed = true;
        registered.due = self.subjects[place].truth(interest);
        Ok(())
    }

    fn unregister(&mut self, place: usize) -> Outcome {
        let Some(Registered { key, .. }) = self.registered[place].take() else { return Ok(()) };
        let (_, data) = self.selector.unregister(key).map_err(|e| e.to_string())?.into_parts();
        if data != place {
            return Err(format!("gave back {data} instead of {place}"));
        }
        if self.selector.unregister(key).is_ok() {
            return Err("unregistered twice".into());
        }
        Ok(())
    }

    fn rebuild(&mut self, backend: Backend) -> Outcome {
        let able = backend.abilities().edge
            || self.registered.iter().flatten().all(|registered| !registered.watch.is_edge());
        match self.selector.rebuild_with(backend) {
            Ok(()) if !able => return Err(format!("{backend} took an edge")),
            Ok(()) => {}
            Err(error) if !able && error.kind() == io::ErrorKind::Unsupported => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        for (place, registered) in self.registered.iter_mut().enumerate() {
            if let Some(registered) = registered {
                registered.due = self.subjects[place].truth(registered.watch.interest());
            }
        }
        Ok(())
    }

    fn select(&mut self, capacity: usize) -> Outcome {
        let mut events = Events::with_capacity(capacity);
        // If there is a reason to return, a wait without end must do so as well.
        let must = (0..PLACES).filter(|&place| !self.must_report(place).is_empty()).count();
        let timeout = if must > 0 || self.woken { None } else { Some(Duration::ZERO) };
        let count = self.selector.select(&mut events, timeout).map_err(|e| e.to_string())?;
        self.woken = false;
        if count < must.min(capacity) {
            let missing: Vec<_> = (0..PLACES)
                .filter(|&place| !self.must_report(place).is_empty())
                .filter(|&place| {
                    let key = self.registered[place].as_ref().map(|registered| registered.key);
                    !events.iter().any(|event| Some(event.key) == key)
                })
                .collect();
            return Err(format!("{count} events of {must}; {missing:?} are missing in {events:?}"));
        }
        let mut seen = Vec::new();
        for event in &events {
            let place = *self.selector.get(event.key).ok_or("a stale event")?.data();
            if seen.contains(&place) {
                return Err(format!("two events for {place}: {events:?}"));
            }
            seen.push(place);
            self.judge(place, event.ready)?;
        }
        Ok(())
    }

    /// What this one has to report, room being there.
    fn must_report(&self, place: usize) -> Ready {
        let Some(registered) = &self.registered[place] else { return Ready::empty() };
        let truth = self.subjects[place].truth(registered.watch.interest()) & GUARANTEED;
        let due = if registered.watch.is_edge() { registered.due } else { GUARANTEED };
        if registered.armed { truth & due } else { Ready::empty() }
    }

    fn judge(&mut self, place: usize, ready: Ready) -> Outcome {
        let must = self.must_report(place);
        let registered = self.registered[place].as_mut().ok_or("an event of nobody")?;
        let interest = registered.watch.interest();
        let subject = &self.subjects[place];
        let truth = subject.truth(interest);
        let found = format!("{place}: {ready:?}, {truth:?} by poll, {:?}", registered.watch);
        if !registered.armed || interest.is_empty() {
            return Err(format!("should be silent: {found}"));
        }
        if ready.contains(Ready::INVALID) {
            return Err(format!("nobody closed it: {found}"));
        }
        if !ready.contains(must) {
            return Err(format!("{must:?} is missing: {found}"));
        }
        let asked = Ready::from_bits_truncate(interest.bits());
        if !asked.contains(ready & GUARANTEED) {
            return Err(format!("not asked for: {found}"));
        }
        if !registered.watch.is_edge() {
            if ready & GUARANTEED != truth & GUARANTEED || !truth.contains(ready) {
                return Err(format!("not the truth: {found}"));
            }
            let (readable, writable) = subject.expected();
            for (flag, known) in [(Ready::READABLE, readable), (Ready::WRITABLE, writable)] {
                if asked.contains(flag) && known.is_some_and(|known| known != ready.contains(flag))
                {
                    return Err(format!("not what the kind of descriptor should say: {found}"));
                }
            }
        }
        registered.due = Ready::empty();
        registered.armed = !registered.watch.is_oneshot();
        Ok(())
    }
}
