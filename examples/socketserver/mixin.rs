//! The mix-ins: who does the work of a request.

use std::io;
use std::thread::{self, JoinHandle};

use clap::ValueEnum;
use rustix::process::{Pid, WaitOptions, waitpid};

use super::common::blocking::CtrlC;
use super::common::forking::fork;

/// Python's `ThreadingMixIn` and `ForkingMixIn`, and neither.
#[derive(Clone, Copy, ValueEnum)]
pub enum Mixin {
    /// The server itself, one request after the other.
    Plain,
    /// A thread for each request.
    Threading,
    /// A process for each request.
    Forking,
}

/// The requests in hand.
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

    /// Forgets threads that have ended, and reaps children.
    pub fn collect(&mut self) {
        self.threads.retain(|thread| !thread.is_finished());
        self.children
            .retain(|&child| matches!(waitpid(Some(child), WaitOptions::NOHANG), Ok(None)));
    }

    /// Waits for all that is in hand.
    pub fn finish(self) -> io::Result<()> {
        for thread in self.threads {
            let _ = thread.join(); // A handler that panicked has said so.
        }
        for child in self.children {
            waitpid(Some(child), WaitOptions::empty())?;
        }
        Ok(())
    }
}
