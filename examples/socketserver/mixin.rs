//! The mix-ins: where a request is processed.

use std::io;
use std::thread::{self, JoinHandle};

use clap::ValueEnum;
use rustix::process::{Pid, WaitOptions, waitpid};

use super::common::blocking::CtrlC;
use super::common::forking::fork;

/// Python's `ThreadingMixIn` and `ForkingMixIn`, or neither.
#[derive(Clone, Copy, ValueEnum)]
pub enum Mixin {
    /// In the server, one request after the other.
    Plain,
    /// In a thread for each request.
    Threading,
    /// In a process for each request.
    Forking,
}

/// The requests in progress.
pub struct Work {
    mixin: Mixin,
    ctrl_c: CtrlC,
    threads: Vec<JoinHandle<()>>,
    children: Vec<Pid>,
}

impl Work {
    pub fn new(mixin: Mixin, ctrl_c: CtrlC) -> Self {
        Self { mixin, ctrl_c, threads: Vec::new(), children: Vec::new() }
    }

    /// A request gets the Ctrl-C of the process that it is served in.
    pub fn process(&mut self, request: impl FnOnce(CtrlC) + Send + 'static) {
        let ctrl_c = self.ctrl_c.clone();
        let begun = match self.mixin {
            Mixin::Plain => {
                request(ctrl_c);
                Ok(())
            }
            Mixin::Threading => thread::Builder::new()
                .spawn(move || request(ctrl_c))
                .map(|thread| self.threads.push(thread)),
            Mixin::Forking => fork(|| match ctrl_c.of_child() {
                Ok(ctrl_c) => request(ctrl_c),
                Err(error) => log::warn!("a request cannot be served: {error}"),
            })
            .map(|child| self.children.push(child)),
        };
        if let Err(error) = begun {
            log::warn!("a request cannot be served: {error}");
        }
    }

    /// Removes threads that have ended, and reaps children.
    pub fn collect(&mut self) {
        self.threads.retain(|thread| !thread.is_finished());
        self.children
            .retain(|&child| matches!(waitpid(Some(child), WaitOptions::NOHANG), Ok(None)));
    }

    /// Waits for all requests in progress.
    pub fn finish(self) -> io::Result<()> {
        for thread in self.threads {
            let _ = thread.join(); // The panic hook has printed a handler's panic.
        }
        for child in self.children {
            waitpid(Some(child), WaitOptions::empty())?;
        }
        Ok(())
    }
}
