//! Tasks: their work, how they end, and what their handles return.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::pin;
use std::rc::Rc;
use std::thread;

use polyselect::asyncio::{self, JoinHandle};

use super::steps::Work;
use super::world::{Loop, World, panic_as_planned, pick};

const MOST_TASKS: usize = 24;

pub type Output = Result<usize, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    NotYet,
    Value,
    Panicked,
    Dropped,
    /// A destructor of the task panicked.
    DropPanicked,
}

struct Task {
    id: usize,
    end: Cell<End>,
    handle: RefCell<Option<JoinHandle<Output>>>,
    /// The iteration in which it was cancelled.
    cancelled: Cell<Option<u64>>,
}

#[derive(Default)]
pub struct Tasks {
    all: RefCell<Vec<Rc<Task>>>,
    /// The number of tasks being polled, one inside another.
    polling: Cell<usize>,
    pub heirs: Rc<Cell<usize>>,
    pub is_loop_dropped: Rc<Cell<bool>>,
}

impl Tasks {
    fn pick(&self, which: usize) -> Option<Rc<Task>> {
        let tasks = self.all.borrow();
        let held: Vec<_> = tasks.iter().filter(|task| task.handle.borrow().is_some()).collect();
        Some(Rc::clone(held[pick(which, held.len())?]))
    }

    pub fn cancel(&self, which: usize, turn: u64) {
        let Some(task) = self.pick(which) else { return };
        task.cancelled.set(task.cancelled.get().or(Some(turn)));
        let handle = task.handle.take();
        handle.as_ref().expect("is held").cancel();
        *task.handle.borrow_mut() = handle;
    }

    pub fn drop_handle(&self, which: usize, turn: u64) {
        let Some(task) = self.pick(which) else { return };
        task.cancelled.set(task.cancelled.get().or(Some(turn)));
        let handle = task.handle.take();
        drop(handle);
    }

    pub fn detach(&self, which: usize) {
        let Some(task) = self.pick(which) else { return };
        let handle = task.handle.take();
        handle.expect("is held").detach();
    }

    pub fn detach_all(&self) {
        while self.pick(0).is_some() {
            self.detach(0);
        }
    }

    pub fn release(&self) {
        for task in self.all.borrow().clone() {
            drop(task.handle.take());
        }
    }

    /// Tasks that have not ended.
    pub fn left(&self) -> Vec<usize> {
        let all = self.all.borrow();
        all.iter().filter(|task| task.end.get() == End::NotYet).map(|task| task.id).collect()
    }
}

/// Reports how a task ended, and runs steps then.
struct Ending {
    world: Rc<World>,
    task: Rc<Task>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Self { world, task } = self;
        if task.end.get() == End::NotYet {
            let is_panic = thread::panicking();
            task.end.set(if is_panic { End::Panicked } else { End::Dropped });
        }
        if !thread::panicking() && world.act(None) {
            task.end.set(End::DropPanicked);
            panic_as_planned();
        }
    }
}

/// Records, while polling, that a task is polled.
async fn as_task<F: Future>(world: Rc<World>, future: F) -> F::Output {
    struct Leave<'a>(&'a Cell<usize>);

    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    let mut future = pin!(future);
    poll_fn(|context| {
        let polling = &world.tasks.polling;
        polling.set(polling.get() + 1);
        let _leave = Leave(polling);
        future.as_mut().poll(context)
    })
    .await
}

impl World {
    pub fn spawn(self: &Rc<Self>, work: Work, event_loop: Option<&mut Loop>) {
        if let Work::Heir = work {
            return self.spawn_heir(event_loop);
        }
        let world = Rc::clone(self);
        // Chosen now, so that no task waits for a later one.
        let joined = match work {
            Work::Join(which) => match self.tasks.pick(which) {
                Some(task) => Some((Rc::clone(&task), task.handle.take().expect("is held"))),
                None => return,
            },
            _ => None,
        };
        self.spawn_future(event_loop, async move {
            match joined {
                Some((task, handle)) => world.join(task, handle).await,
                None => world.work(work).await,
            }
        });
    }

    /// Spawns a task that reports its end.
    pub fn spawn_future(
        self: &Rc<Self>,
        event_loop: Option<&mut Loop>,
        work: impl Future<Output = ()> + 'static,
    ) {
        self.tasks
            .all
            .borrow_mut()
            .retain(|task| task.handle.borrow().is_some() || task.end.get() == End::NotYet);
        if self.tasks.all.borrow().len() >= MOST_TASKS {
            return;
        }
        let (id, end) = (self.new_id(), Cell::new(End::NotYet));
        let (handle, cancelled) = (RefCell::default(), Cell::new(None));
        let task = Rc::new(Task { id, end, handle, cancelled });
        self.tasks.all.borrow_mut().push(Rc::clone(&task));
        let ending = Ending { world: Rc::clone(self), task: Rc::clone(&task) };
        let body = async move {
            work.await;
            ending.task.end.set(End::Value);
            Ok(ending.task.id)
        };
        let body = as_task(Rc::clone(self), body);
        match event_loop {
            Some(event_loop) => *task.handle.borrow_mut() = Some(event_loop.spawn(body)),
            None if self.tasks.polling.get() > 0 => {
                *task.handle.borrow_mut() = Some(asyncio::spawn(body));
            }
            None => self.call_local_with(move |_, event_loop| {
                *task.handle.borrow_mut() = Some(event_loop.spawn(body));
            }),
        }
    }

    /// Runs steps of a task, which may end it.
    pub fn act_in_task(self: &Rc<Self>) {
        self.act_and_panic(None);
    }

    async fn work(self: Rc<Self>, work: Work) {
        match work {
            Work::Yield(times) => {
                for _ in 0..=times {
                    self.act_in_task();
                    asyncio::yield_now().await;
                }
            }
            Work::Sleep(delay) => {
                let start = self.now();
                asyncio::sleep(delay).await;
                let slept = self.now() - start;
                self.check(slept >= delay, || format!("a sleep of {delay:?} took {slept:?}"));
                self.act_in_task();
            }
            Work::Panic => {
                asyncio::yield_now().await;
                panic_as_planned();
            }
            Work::Heir | Work::Join(_) => unreachable!("spawned otherwise"),
            Work::MoveSource(lives) => self.move_source(lives).await,
            Work::MoveSleep(lives) => self.move_sleep(lives).await,
            Work::Stream(total, piece) => self.stream(total, piece).await,
            Work::Serve => self.serve().await,
            Work::Stop(which, grace) => self.stop_server(which, grace).await,
            Work::CloseServer(which) => self.close_server(which).await,
            Work::Thread(work) => self.work_in_thread(work).await,
            Work::Process(course) => self.run_process(course).await,
            Work::LookUp(name) => self.look_up(name).await,
            Work::Read(which, _)
            | Work::Readable(which)
            | Work::Timeout(which, _)
            | Work::Write(which, _)
            | Work::Abandon(which)
            | Work::PanickingWaker(which) => {
                if let Some(pipe) = self.pipes.pick(which) {
                    self.work_on_pipe(&pipe, work).await;
                }
            }
        }
    }

    async fn join(self: Rc<Self>, task: Rc<Task>, handle: JoinHandle<Output>) {
        let (id, result) = (task.id, handle.await);
        let is_right = match (&result, task.end.get()) {
            (Ok(value), End::Value) => *value == Ok(id),
            // A destructor that panics when the task is cancelled looks like a panic of the task.
            (Err(error), End::Panicked) => error.is_panic() || task.cancelled.get().is_some(),
            (Err(error), End::Dropped) => !error.is_panic(),
            (Err(_), End::DropPanicked) => true,
            _ => false,
        };
        self.check(is_right, || format!("task {id}, {:?}, returns {result:?}", task.end.get()));
        self.act_in_task();
    }

    /// Checks the tasks after an iteration that ended normally.
    pub fn check_tasks(&self) {
        for task in self.tasks.all.borrow().iter() {
            if let Some(turn) = task.cancelled.get() {
                let is_over = task.end.get() != End::NotYet || turn + 2 > self.turn.get();
                self.check(is_over, || format!("task {} was cancelled and goes on", task.id));
            }
        }
    }

    fn spawn_heir(self: &Rc<Self>, event_loop: Option<&mut Loop>) {
        let Some(event_loop) = event_loop else { return };
        self.is_dropped_at_end.set(true);
        let heir = Heir {
            token: Rc::clone(&self.tasks.heirs),
            is_loop_dropped: Rc::clone(&self.tasks.is_loop_dropped),
        };
        event_loop.spawn(heir.wait()).detach();
    }

    /// Whether an error reports that another loop has the source.
    pub fn is_elsewhere(error: &std::io::Error) -> bool {
        error.kind() == ErrorKind::InvalidInput
    }
}

/// Spawns its successor when it is dropped with its loop.
struct Heir {
    token: Rc<Cell<usize>>,
    is_loop_dropped: Rc<Cell<bool>>,
}

impl Heir {
    async fn wait(self) {
        std::future::pending::<()>().await;
        drop(self);
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        if self.is_loop_dropped.get() {
            self.token.set(self.token.get() + 1);
            let heir = Self {
                token: Rc::clone(&self.token),
                is_loop_dropped: Rc::clone(&self.is_loop_dropped),
            };
            asyncio::spawn(heir.wait()).detach();
        }
    }
}
