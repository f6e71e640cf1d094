//! Processes by `fork`, and how they are reaped.

#![cfg_attr(unix, allow(unsafe_code))] // `fork`, `_exit` and `signal`.

#[allow(unused_imports)] // No example uses all of it.
pub use system::{Children, fork, ignore_children};

#[cfg(unix)]
mod system {
    use std::io;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rustix::process::{Pid, WaitOptions, waitpid};
    use signal_hook::consts::SIGCHLD;
    use socket2::{Domain, Socket, Type};

    /// Runs `work` in a new process, which exits afterwards. The program must have one thread only.
    pub fn fork(work: impl FnOnce()) -> io::Result<Pid> {
        // SAFETY: there is only one thread, so no lock can be held by a thread that the child
        // lacks.
        let child = unsafe { libc::fork() };
        if child < 0 {
            return Err(io::Error::last_os_error());
        }
        match Pid::from_raw(child) {
            Some(child) => Ok(child),
            None => {
                let result = catch_unwind(AssertUnwindSafe(work));
                // SAFETY: it ends the process without touching state shared with the parent.
                unsafe { libc::_exit(i32::from(result.is_err())) }
            }
        }
    }

    /// Lets the system reap the children; they cannot be waited for after that.
    pub fn ignore_children() -> io::Result<()> {
        // SAFETY: no handler runs.
        match unsafe { libc::signal(SIGCHLD, libc::SIG_IGN) } {
            libc::SIG_ERR => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// The children of this process.
    pub struct Children {
        /// Becomes readable when a child ends.
        pub ended: Socket,
        pub running: Vec<Pid>,
    }

    impl Children {
        pub fn new() -> io::Result<Self> {
            let (ended, writer) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
            ended.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(SIGCHLD, writer)?;
            Ok(Self { ended, running: Vec::new() })
        }

        /// Reaps the children that have ended, and returns their number.
        pub fn reap(&mut self) -> usize {
            while io::Read::read(&mut &self.ended, &mut [0; 64]).is_ok_and(|read| read > 0) {}
            let before = self.running.len();
            self.running
                .retain(|&child| matches!(waitpid(Some(child), WaitOptions::NOHANG), Ok(None)));
            before - self.running.len()
        }

        /// Waits for all children.
        pub fn join(self) {
            for child in self.running {
                let _ = waitpid(Some(child), WaitOptions::empty());
            }
        }
    }
}

/// A stand-in for systems without `fork`.
#[cfg(not(unix))]
#[allow(clippy::unused_self)] // Same signature as with `fork`.
mod system {
    use std::io;

    use socket2::Socket;

    pub fn fork(_: impl FnOnce()) -> io::Result<u32> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no fork"))
    }

    pub fn ignore_children() -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no fork"))
    }

    pub struct Children {
        pub ended: Socket,
        pub running: Vec<u32>,
    }

    impl Children {
        pub fn new() -> io::Result<Self> {
            Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no fork"))
        }

        pub fn reap(&mut self) -> usize {
            0
        }

        pub fn join(self) {}
    }
}
