//! Standard output of the examples: the same bytes on a terminal, in a file and in a pipe.
//!
//! A server with one loop leaves printing to a thread: a write to standard output blocks while a terminal or
//! the reader of a pipe is slow or has stopped, and all clients would wait with it. So the loop queues its
//! lines and never waits for the output; lines that the queue has no room for are counted and left out,
//! without being formatted.
//!
//! All other programs print directly: a child process has no copy of the thread.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::mem;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use env_logger::{Builder, Env, Logger};
use log::{Log, Metadata, Record};
use signal_hook::consts::SIGTERM;

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
    /// Standard output takes no more.
    Closed,
}

static QUEUE: Mutex<Queue> =
    Mutex::new(Queue { text: Vec::new(), lines_left_out: 0, state: State::Direct });
static CHANGED: Condvar = Condvar::new();

/// Whether the program handles SIGTERM.
static HANDLES_SIGTERM: AtomicBool = AtomicBool::new(false);

fn lock() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a line that is never left out: `println!` would panic when a pipe is closed.
macro_rules! say {
    () => { $crate::common::printing::print(format_args!("\n")) };
    ($($line:tt)*) => { $crate::common::printing::print(format_args!("{}\n", format_args!($($line)*))) };
}
pub(crate) use say;

/// Prints text that is never left out.
pub fn print(text: Arguments<'_>) {
    let mut queue = lock();
    match queue.state {
        State::Direct => queue.write(text.to_string().as_bytes()),
        State::Idle | State::Writing => queue.push(text),
        State::Closed => {}
    }
}

/// Shows on standard output what the documents' programs print, or what `RUST_LOG` asks for.
pub fn start_log() {
    let filter = Builder::from_env(Env::default().default_filter_or("info")).build();
    log::set_max_level(filter.filter());
    log::set_boxed_logger(Box::new(Printer(filter))).expect("the only logger");
}

/// The same for a server with one loop. Dropping the guard waits until all of it is printed.
pub fn start_server_log() -> io::Result<Printing> {
    thread::Builder::new().name("printing".to_owned()).spawn(write_lines)?;
    lock().state = State::Idle;
    handles_sigterm();
    start_log();
    Ok(Printing(()))
}

/// Declares that SIGTERM stops the program in good order, so that a closed pipe can do the same.
pub fn handles_sigterm() {
    HANDLES_SIGTERM.store(true, Ordering::Relaxed);
}

struct Printer(Logger);

impl Log for Printer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.0.matches(record) {
            return;
        }
        let mut queue = lock();
        // Formatting a line costs more than serving the client, so it is done for printed lines only.
        match queue.state {
            State::Direct => queue.write(format!("{}\n", record.args()).as_bytes()),
            State::Closed => {}
            _ if queue.text.len() > LIMIT => queue.lines_left_out += 1,
            _ => queue.push(format_args!("{}\n", record.args())),
        }
    }

    fn flush(&self) {}
}

impl Queue {
    fn push(&mut self, text: Arguments<'_>) {
        self.text.write_fmt(text).expect("memory takes it");
        CHANGED.notify_all();
    }

    fn write(&mut self, text: &[u8]) {
        if let Err(error) = write(text) {
            self.state = State::Closed;
            end_the_program(&error);
        }
    }
}

fn write(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text)?;
    stdout.flush()
}

/// Ends the program because standard output takes no more: without a message if its reader has closed it.
fn end_the_program(error: &io::Error) {
    let is_closed = error.kind() == io::ErrorKind::BrokenPipe;
    if !is_closed {
        let _ = writeln!(io::stderr(), "Error: standard output: {error}");
    }
    if HANDLES_SIGTERM.load(Ordering::Relaxed) {
        let _ = signal_hook::low_level::raise(SIGTERM);
    } else {
        process::exit(i32::from(!is_closed));
    }
}

fn write_lines() {
    let mut text = Vec::new();
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
        let result = write(&text);
        text.clear();
        lock().state = if result.is_ok() { State::Idle } else { State::Closed };
        CHANGED.notify_all();
        if let Err(error) = result {
            return end_the_program(&error);
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
