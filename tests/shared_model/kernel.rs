//! A kernel, a waker and a selector for the model of `src/shared/protocol.rs`.

use std::io;
use std::time::Duration;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::flag::WakeFlag;
use crate::protocol::{Needs, Shareable};
use crate::timeout::End;

/// A file by its number; its readiness has the bits of an interest.
pub type File = usize;
pub type Interest = u8;

/// An event, and an entry of a set: the file, the registration, and its interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub file: File,
    pub generation: u32,
    pub interest: Interest,
}

/// The token of the waker.
const WAKER: Token = Token { file: usize::MAX, generation: 0, interest: 1 };

#[derive(Default)]
struct State {
    /// The readiness of each file.
    ready: [Interest; 2],
    /// Signals of the waker.
    signals: u32,
    /// The sets of kernel objects that accept changes during a wait, by the number of the object.
    sets: [Vec<Token>; 2],
    /// The argument of the call in which a thread is.
    argument: Vec<Token>,
}

/// All kernel objects of a process.
pub struct Kernel {
    state: Mutex<State>,
    has_changed: Condvar,
}

impl Kernel {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::default()), has_changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn make_ready(&self, file: File, interest: Interest) {
        self.lock().ready[file] = interest;
        self.has_changed.notify_one();
    }

    /// Ends the readiness that a token reports.
    pub fn consume(&self, token: Token) {
        self.lock().ready[token.file] &= !token.interest;
    }

    pub fn holds(&self, file: File) -> bool {
        let state = self.lock();
        state.sets.iter().flatten().chain(&state.argument).any(|token| token.file == file)
    }

    fn set(&self, object: usize, file: File, token: Option<Token>) {
        let mut state = self.lock();
        state.sets[object].retain(|token| token.file != file);
        state.sets[object].extend(token);
        self.has_changed.notify_one();
    }

    /// Waits for the files of the argument and of the object's set.
    fn wait(&self, argument: &[Token], object: Option<usize>, is_waiting: bool) -> Vec<Token> {
        let mut state = self.lock();
        state.argument = argument.to_vec();
        loop {
            let set = object.map_or(&[][..], |object| &state.sets[object]);
            let watched = set.iter().chain(argument).copied();
            let mut found: Vec<_> =
                watched.filter(|token| state.ready[token.file] & token.interest != 0).collect();
            found.extend((state.signals > 0).then_some(WAKER));
            if !found.is_empty() || !is_waiting {
                state.argument.clear();
                return found;
            }
            state = self.has_changed.wait(state).unwrap();
        }
    }
}

/// The selector's waker, on a channel that is watched by every call.
pub struct Waker {
    flag: WakeFlag,
    kernel: Arc<Kernel>,
    /// The number of signals that fail.
    pub failures: AtomicUsize,
}

impl Waker {
    pub fn new(kernel: &Arc<Kernel>) -> Self {
        let failures = AtomicUsize::new(0);
        Self { flag: WakeFlag::new(0), kernel: Arc::clone(kernel), failures }
    }

    fn signal(&self) {
        self.kernel.lock().signals += 1;
        self.kernel.has_changed.notify_one();
    }

    pub fn wake(&self) {
        let signal = || {
            self.signal();
            Ok::<(), ()>(())
        };
        self.flag.raise(0, signal).unwrap();
    }

    pub fn poke(&self) -> io::Result<()> {
        let next = |failures: usize| failures.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).is_ok() {
            return Err(io::Error::other("as the test wants it"));
        }
        self.signal();
        Ok(())
    }

    pub fn take(&self) -> bool {
        self.flag.lower(|| self.kernel.lock().signals = 0)
    }
}

/// A selector's bookkeeping, by files.
pub struct Set {
    kernel: Arc<Kernel>,
    /// The kernel object, if it accepts changes during a wait.
    object: Option<usize>,
    /// The argument of each call otherwise; `None` while a wait has it.
    argument: Option<Vec<Token>>,
    registered: [Option<Token>; 2],
    /// Files whose change has not been sent to the kernel.
    changes: Vec<File>,
    generation: u32,
    /// Whether the next call of the backend panics.
    pub panics: bool,
}

impl Set {
    pub fn new(kernel: &Arc<Kernel>, object: Option<usize>) -> Self {
        Self {
            kernel: Arc::clone(kernel),
            object,
            argument: Some(Vec::new()),
            registered: [None; 2],
            changes: Vec::new(),
            generation: 0,
            panics: false,
        }
    }

    pub fn contains(&self, token: Token) -> bool {
        self.registered[token.file] == Some(token)
    }

    fn send(&mut self, file: File) {
        let token = self.registered[file];
        match self.object {
            Some(object) => self.kernel.set(object, file, token),
            None => {
                let argument = self.argument.as_mut().expect("the backend is away");
                argument.retain(|token| token.file != file);
                argument.extend(token);
            }
        }
    }

    pub fn register(&mut self, file: File, interest: Interest) {
        self.generation += 1;
        let token = Token { file, generation: self.generation, interest };
        assert_eq!(self.registered[file].replace(token), None);
        self.send(file);
    }

    pub fn unregister(&mut self, file: File) -> bool {
        let was_there = self.registered[file].take().is_some();
        self.changes.retain(|&changed| changed != file);
        if was_there {
            self.send(file);
        }
        was_there
    }

    pub fn modify(&mut self, file: File, interest: Interest) {
        if let Some(token) = &mut self.registered[file] {
            token.interest = interest;
            self.changes.push(file);
        }
    }

    pub fn move_to(&mut self, object: Option<usize>) {
        let files = (0..2).filter(|&file| self.registered[file].is_some());
        let files: Vec<_> = files.collect();
        for &file in &files {
            let token = self.registered[file].take();
            self.send(file);
            self.registered[file] = token;
        }
        self.object = object;
        self.changes.clear();
        files.into_iter().for_each(|file| self.send(file));
    }

    pub fn removal_needs(&self, file: File) -> Needs {
        if self.registered[file].is_some() { Needs::Backend } else { Needs::Nothing }
    }

    fn send_changes(&mut self) {
        std::mem::take(&mut self.changes).into_iter().for_each(|file| self.send(file));
    }
}

/// The argument of a call, and the kernel that it is made to.
pub struct Argument(Vec<Token>, Arc<Kernel>, bool);

/// The kernel of this model, for calls that name an object by its number.
pub struct Batch {
    pub events: Vec<Token>,
    pub kernel: Arc<Kernel>,
}

impl Shareable for Set {
    type Events = Batch;
    type Backend = Argument;
    type Messages = ();

    fn is_plain(&self) -> bool {
        self.object.is_some() && self.changes.is_empty()
    }

    fn is_due(&self) -> bool {
        !self.changes.is_empty()
    }

    fn begin_wait(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        self.send_changes();
        timeout
    }

    fn end_wait(
        &mut self,
        result: io::Result<()>,
        batch: &mut Batch,
        is_woken: bool,
    ) -> io::Result<End> {
        result?;
        for &token in &batch.events {
            assert!(self.contains(token), "an event of a former interest");
        }
        Ok(if is_woken || !batch.events.is_empty() { End::Reached } else { End::Early })
    }

    fn apply_changes(&mut self) {
        self.send_changes();
    }

    fn drop_outdated(&self, batch: &mut Batch) {
        batch.events.retain(|&token| self.contains(token));
    }

    fn take_messages(&mut self) {}

    fn log((): ()) {}

    fn lend(&mut self) -> Option<Argument> {
        let panics = std::mem::take(&mut self.panics);
        if self.object.is_some() {
            return None;
        }
        let argument = self.argument.take().expect("the backend is away");
        Some(Argument(argument, Arc::clone(&self.kernel), panics))
    }

    fn take_back(&mut self, Argument(argument, ..): Argument) {
        assert!(self.argument.replace(argument).is_none());
    }

    fn wait(
        Argument(argument, kernel, panics): &mut Argument,
        batch: &mut Batch,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        assert!(!*panics, "as the test wants it");
        batch.events = kernel.wait(argument, None, timeout.is_none());
        Ok(())
    }

    fn kernel_object(&self) -> i32 {
        self.object.map_or(-1, |object| i32::try_from(object).expect("is small"))
    }

    fn wait_on(object: i32, batch: &mut Batch, timeout: Option<Duration>) -> io::Result<()> {
        batch.events = batch.kernel.wait(&[], Some(object as usize), timeout.is_none());
        Ok(())
    }

    fn wait_plainly(object: i32, batch: &mut Batch) -> io::Result<bool> {
        Self::wait_on(object, batch, None)?;
        Ok(!batch.events.contains(&WAKER))
    }

    fn remove_waker(batch: &mut Batch) -> bool {
        let before = batch.events.len();
        batch.events.retain(|&token| token != WAKER);
        batch.events.len() < before
    }
}
