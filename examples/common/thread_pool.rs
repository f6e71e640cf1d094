//! A fixed number of threads that take work from one queue: Python's `ThreadPoolExecutor`.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

type Job = Box<dyn FnOnce() + Send>;

/// Dropping it waits for running and queued work.
pub struct ThreadPool {
    /// `None` once no more work is accepted.
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl ThreadPool {
    /// Starts this many threads.
    pub fn new(threads: usize) -> io::Result<Self> {
        if threads == 0 {
            let message = "a pool of no threads would never do anything: ask for at least one";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let mut pool = Self { jobs: Some(jobs), threads: Vec::with_capacity(threads) };
        for number in 0..threads {
            let queue = Arc::clone(&queue);
            let thread = Builder::new().name(format!("worker {number}"));
            pool.threads.push(thread.spawn(move || work_off(&queue))?);
        }
        Ok(pool)
    }

    /// Queues a piece of work for the first thread that is free.
    pub fn execute(&self, job: impl FnOnce() + Send + 'static) {
        let jobs = self.jobs.as_ref().expect("there until the pool is dropped");
        jobs.send(Box::new(job)).expect("the threads stay until the pool is dropped");
    }
}

fn work_off(queue: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting for work, by one thread; the others wait for the lock.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // The panic hook has printed the panic; the thread goes on with other work.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
