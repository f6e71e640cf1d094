//! A forked child that runs a part of a program.

#![allow(unsafe_code)] // `fork` has no safe form.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::io::{read, retry_on_intr, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::program::Outcome;

/// A child, killed when it is dropped before its end.
pub struct Child {
    process: Option<Pid>,
    /// The failures.
    report: Vec<u8>,
    /// The child lives until this is closed.
    life: Option<OwnedFd>,
}

/// Runs `work` in a child, and returns when that is done. The child ends then, or lives until it is
/// joined.
pub fn fork(lives: bool, work: impl FnOnce() -> Outcome) -> io::Result<Child> {
    let (report, to_parent) = pipe_with(PipeFlags::CLOEXEC)?;
    let (wait, life) = pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: the child runs the code of one thread and ends by `_exit`. The allocator's locks are
    // its own after a fork, and the code takes no lock of another thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: ends this process if it hangs; the watchdog is a thread of the parent's.
            unsafe { libc::alarm(20) };
            drop((report, life));
            let outcome = catch_unwind(AssertUnwindSafe(work));
            let outcome = outcome.unwrap_or_else(|_| Err("panics".into()));
            if let Err(wrong) = outcome {
                let _ = write(&to_parent, wrong.as_bytes());
            }
            drop(to_parent);
            if lives {
                let _ = retry_on_intr(|| read(&wait, &mut [0_u8; 1][..]));
            }
            // SAFETY: ends the process and touches no memory.
            unsafe { libc::_exit(0) }
        }
        child => {
            drop((to_parent, wait));
            let process = Pid::from_raw(child);
            let mut child = Child { process, report: Vec::new(), life: Some(life) };
            let mut buffer = [0; 1024];
            while let count @ 1.. = retry_on_intr(|| read(&report, &mut buffer))? {
                child.report.extend(&buffer[..count]);
            }
            Ok(child)
        }
    }
}

impl Child {
    /// Waits for its end, and returns its failures.
    pub fn join(mut self) -> Outcome {
        self.life = None;
        let process = self.process.take().expect("not joined before");
        let status = waitpid(Some(process), WaitOptions::empty()).expect("is a child");
        let status = status.expect("waits until it has ended").1;
        match (self.report.is_empty(), status.exit_status()) {
            (true, Some(0)) => Ok(()),
            (true, _) => Err(format!("the child ends with {status:?}")),
            _ => Err(format!("in the child: {}", String::from_utf8_lossy(&self.report))),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(process) = self.process {
            let _ = kill_process(process, Signal::KILL);
            let _ = waitpid(Some(process), WaitOptions::empty());
        }
    }
}

/// Closes a descriptor in a child, where its owners are not dropped.
pub fn close_in_child(number: i32) {
    // SAFETY: the child ends by `_exit`, so its copies of the owners never use the number.
    unsafe { libc::close(number) };
}
