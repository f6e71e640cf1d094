//! Standard output for servers with one loop: a separate thread prints.
//!
//! A write to standard output blocks while a terminal or the reader of a pipe is slow or has stopped, and all
//! clients would wait with it. So the loop queues its lines and never waits for the output; lines that the
//! queue has no room for are counted and left out, without being formatted.
//!
//! Programs that fork print directly, because a child process has no copy of the thread.

use std::io::{self, Write};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use env_logger::Logger;
use log::{Log, Metadata, Record};

/// The number of queued bytes above which lines are left out.
const LIMIT: usize = 1 << 20;

/// How long the end of the program waits for output without progress.
const PATIENCE: Duration = Duration::from_secs(2);

struct Queue {
    text: Vec<u8>,
    lines_left_out: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The thread has not been started: the caller prints.
    Direct,
    Idle,
    Writing,
    /// Standard output is closed.
    Closed,
}

static QUEUE: Mutex<Queue> =
    Mutex::new(Queue { text: Vec::new(), lines_left_out: 0, state: State::Direct });
static CHANGED: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a line that is never left out.
pub fn print(line: &str) -> io::Result<()> {
    let mut queue = lock();
    if queue.state == State::Direct {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}")?;
        return stdout.flush();
    }
    writeln!(queue.text, "{line}")?;
    CHANGED.notify_all();
    Ok(())
}

/// Starts the thread that prints what is logged. Dropping the guard waits until all of it is printed.
pub fn start(filter: Logger) -> io::Result<Printing> {
    thread::Builder::new().name("printing".to_owned()).spawn(write_lines)?;
    lock().state = State::Idle;
    log::set_max_level(filter.filter());
    log::set_boxed_logger(Box::new(Queueing(filter))).map_err(io::Error::other)?;
    Ok(Printing(()))
}

struct Queueing(Logger);

impl Log for Queueing {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.0.matches(record) {
            return;
        }
        let mut queue = lock();
        // Formatting a line costs more than serving the client, so it is done for printed lines only.
        if queue.state == State::Closed || queue.text.len() > LIMIT {
            queue.lines_left_out += 1;
        } else {
            writeln!(queue.text, "{}", record.args()).expect("memory takes it");
            CHANGED.notify_all();
        }
    }

    fn flush(&self) {}
}

fn write_lines() {
    let (mut text, mut stdout) = (Vec::new(), io::stdout());
    loop {
        let mut queue = lock();
        while queue.text.is_empty() {
            queue = CHANGED.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        mem::swap(&mut text, &mut queue.text);
        let lines_left_out = mem::take(&mut queue.lines_left_out);
        queue.state = State::Writing;
        drop(queue);
        if lines_left_out > 0 {
            let message = "lines are left out here, because the output is read too slowly";
            writeln!(text, "{lines_left_out} {message}").expect("memory takes it");
        }
        let result = stdout.write_all(&text).and_then(|()| stdout.flush());
        text.clear();
        lock().state = if result.is_ok() { State::Idle } else { State::Closed };
        CHANGED.notify_all();
        if result.is_err() {
            return;
        }
    }
}

#[must_use = "dropping it waits for the output"]
pub struct Printing(());

impl Drop for Printing {
    fn drop(&mut self) {
        let mut queue = lock();
        while queue.state == State::Writing || queue.state == State::Idle && !queue.text.is_empty()
        {
            let (changed, wait) =
                CHANGED.wait_timeout(queue, PATIENCE).unwrap_or_else(PoisonError::into_inner);
            queue = changed;
            if wait.timed_out() {
                return;
            }
        }
    }
}
