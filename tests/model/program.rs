//! Programs for a selector, and what must be true after each step.

use std::io;
use std::time::Duration;

use polyselect::{Backend, Events, Interest, Key, Ready, Selector, Watch};

use super::subject::{Kind, Source, Subject};

pub type Sel = Selector<Source, usize>;

/// So many subjects are there at a time: more than a mechanism hands out at once.
pub const PLACES: usize = 30;

#[derive(Clone, Copy, Debug)]
pub enum Mode {
    Level,
    Oneshot,
    Edge,
    EdgeOneshot,
}

#[derive(Clone, Debug)]
pub enum Step {
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

/// Runs a program, and says at which step it went wrong.
pub fn run(program: &[Step], selector: Sel) -> Outcome {
    let mut run = Run::new(selector);
    for (index, step) in program.iter().enumerate() {
        run.step(step).map_err(|wrong| format!("step {index}, {step:?}: {wrong}"))?;
    }
    Ok(())
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

pub type Outcome = Result<(), String>;

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
        let able = !watch.is_edge() || self.selector.backend().capabilities().edge;
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
        let able = backend.capabilities().edge
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
        let interest = registered.watch.interest();
        let mut truth = self.subjects[place].truth(interest);
        if self.selector.backend() == Backend::Select
            && !interest.contains(Interest::READABLE)
            && truth.contains(Ready::WRITE_CLOSED)
        {
            truth -= Ready::WRITABLE; // It may not see the hang-up.
        }
        let truth = truth & GUARANTEED;
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
        let asked = Ready::from(interest);
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
