//! A custom reactor on a `Selector`, for programs that `EventLoop` does not suit.
//!
//! Not in the documents. It has tasks instead of callbacks: a task is stepped when the event it
//! waits for arrives, and returns the next event to wait for.
//!
//! ```text
//! cargo run --example custom_reactor
//! nc localhost 10002
//! ```

mod common;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use polyselect::accept::{Batch, REST, is_exhausted};
use polyselect::{Backend, Events, Interest, Selector, WriteQueue};
use socket2::Socket;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:10002")]
    addr: String,
    /// The backend to wait with; without it, the best of this system.
    #[arg(long)]
    backend: Option<Backend>,
}

/// The event that a task waits for.
enum WaitFor {
    Source(Rc<Socket>, Interest),
    Time(Instant),
    Nothing,
    TheEndOfAll,
}

/// Runs as far as possible without waiting. New tasks are pushed to the argument.
struct Task(Box<Step>);
type Step = dyn FnMut(&mut Vec<Task>) -> io::Result<WaitFor>;

struct Reactor {
    /// The data of a source is the task that waits for it.
    selector: Selector<Rc<Socket>, Task>,
    /// The number distinguishes tasks with the same deadline.
    sleeping: BTreeMap<(Instant, u64), Task>,
    runnable: Vec<Task>,
    sleepers: u64,
}

impl Reactor {
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            while let Some(task) = self.runnable.pop() {
                if self.step(task)?.is_break() {
                    return Ok(());
                }
            }
            let next = self.sleeping.first_key_value().map(|(&(deadline, _), _)| deadline);
            if next.is_none() && self.selector.is_empty() {
                return Ok(());
            }
            let timeout = next.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            self.selector.select(&mut events, timeout)?;
            for event in &events {
                // The task chooses what to wait for at each step, so the registration ends here.
                let (_source, task) = self.selector.unregister(event.key)?.into_parts();
                self.runnable.push(task);
            }
            let later = self.sleeping.split_off(&(Instant::now(), u64::MAX));
            self.runnable.extend(std::mem::replace(&mut self.sleeping, later).into_values());
        }
    }

    fn step(&mut self, mut task: Task) -> io::Result<ControlFlow<()>> {
        match task.0(&mut self.runnable) {
            Ok(WaitFor::TheEndOfAll) => return Ok(ControlFlow::Break(())),
            Ok(WaitFor::Nothing) => {}
            Ok(WaitFor::Source(source, interest)) => {
                self.selector.register(source, interest, task)?;
            }
            Ok(WaitFor::Time(deadline)) => {
                self.sleepers += 1;
                self.sleeping.insert((deadline, self.sleepers), task);
            }
            Err(error) => log::warn!("a task failed: {error}"),
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn accept(listener: Rc<Socket>) -> Task {
    Task(Box::new(move |spawned| {
        let mut batch = Batch::new();
        loop {
            match batch.next(|| common::accept(&listener)) {
                Ok(Some((conn, _))) => spawned.push(echo(conn)),
                Ok(None) => return Ok(WaitFor::Source(listener.clone(), Interest::READABLE)),
                Err(error) if is_exhausted(&error) => {
                    return Ok(WaitFor::Time(Instant::now() + REST));
                }
                Err(error) => return Err(error),
            }
        }
    }))
}

fn echo(conn: Socket) -> Task {
    let (conn, mut out) = (Rc::new(conn), WriteQueue::new());
    Task(Box::new(move |_| {
        if !out.flush(&*conn)? {
            return Ok(WaitFor::Source(conn.clone(), Interest::WRITABLE));
        }
        let mut bytes = [0; 1024];
        match (&*conn).read(&mut bytes) {
            Ok(0) => return Ok(WaitFor::Nothing),
            Ok(n) => out.push(&bytes[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(WaitFor::Source(conn.clone(), Interest::READABLE));
            }
            Err(error) => return Err(error),
        }
        Ok(WaitFor::Time(Instant::now() + Duration::from_millis(10)))
    }))
}

fn end_on_ctrl_c() -> io::Result<Task> {
    let (ctrl_c, mut is_awaited) = (Rc::new(common::ctrl_c()?), false);
    Ok(Task(Box::new(move |_| match std::mem::replace(&mut is_awaited, true) {
        false => Ok(WaitFor::Source(ctrl_c.clone(), Interest::READABLE)),
        true => Ok(WaitFor::TheEndOfAll),
    })))
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let selector = args.backend.map_or_else(Selector::new, Selector::with_backend)?;
    let end = end_on_ctrl_c()?;
    let listener = common::listen(&args.addr)?;
    let runnable = vec![accept(Rc::new(listener)), end];
    Ok(Reactor { selector, sleeping: BTreeMap::new(), runnable, sleepers: 0 }.run()?)
}
