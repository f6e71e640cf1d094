//! [`Process`]: a child process, its pipes and its end.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::process::{Child, Command, ExitStatus, Output};
use std::task::Poll;

use super::runtime::Runtime;
use crate::clock::OutsideWork;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub use system::{PipeReader, PipeWriter};

/// A child process: asyncio's `Process`.
///
/// The pipes of the [`Command`] can be awaited here, to be used or [taken](Option::take). The child is reaped by
/// [`wait`](Self::wait), or after the drop: it never stays a zombie, and no other child of the program is touched. On
/// Linux its end is an event of its pidfd; on other Unix systems, and where a sandbox forbids that call, a thread of
/// [`to_thread`](super::to_thread)'s pool waits for it. On Windows a thread of the system waits for its end and for
/// its pipes.
///
/// Dropping it closes the pipes and lets the child run, unless [`set_kill_on_drop`](Self::set_kill_on_drop) is on.
///
/// Writing to a child that has ended is a `BrokenPipe` error: on Unix, Rust's runtime ignores `SIGPIPE`. A host program
/// in another language has to do the same.
///
/// ```
/// # #[cfg(unix)] {
/// use polyselect::{EventLoop, asyncio};
/// use std::process::{Command, Stdio};
///
/// EventLoop::new(())?.block_on(async {
///     let mut cat = asyncio::Process::spawn(
///         Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()),
///     )?;
///     let (stdin, stdout) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
///     stdin.write_all(b"hello").await?;
///     drop(stdin); // the end of its input
///     let mut text = [0; 5];
///     stdout.read_exact(&mut text).await?;
///     assert_eq!(&text, b"hello");
///     assert!(cat.wait().await?.success());
///     std::io::Result::Ok(())
/// })??;
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Process {
    /// The pipe to its standard input, if that is piped.
    pub stdin: Option<PipeWriter>,
    /// The pipe from its standard output, if that is piped.
    pub stdout: Option<PipeReader>,
    /// The pipe from its standard error, if that is piped.
    pub stderr: Option<PipeReader>,
    /// `None` after it was passed on to be reaped.
    child: Option<Child>,
    status: Option<ExitStatus>,
    kill_on_drop: bool,
    /// In a lab, lets time pass at the real pace, as it does for the child.
    outside: Option<OutsideWork>,
}

impl Process {
    /// Starts the command. Blocks until the system has started it, as [`Command::spawn`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Command::spawn`].
    ///
    /// See [`Process`] for an example.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut child = command.spawn()?;
        let outside = Some(Runtime::current_clock().outside_work());
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut process = Self {
            stdin: None,
            stdout: None,
            stderr: None,
            child: Some(child),
            status: None,
            kill_on_drop: false,
            outside,
        };
        // If one fails, dropping the process reaps the child.
        process.stdin = stdin.map(system::writer).transpose()?;
        process.stdout = stdout.map(system::reader).transpose()?;
        process.stderr = stderr.map(system::reader).transpose()?;
        Ok(process)
    }

    /// Returns the process id.
    ///
    /// ```
    /// use polyselect::{EventLoop, asyncio::Process};
    /// use std::process::Command;
    ///
    /// let mut child = Process::spawn(&mut Command::new("true"))?;
    /// assert!(child.id() > 1);
    /// EventLoop::new(())?.block_on(child.wait())??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    fn child(&self) -> &Child {
        self.child.as_ref().expect("there until the drop")
    }

    /// Waits for the end of the child and reaps it. Its pipes stay open, because a process that it has started may still
    /// write to them. When this is cancelled, it can be called again.
    ///
    /// `stdin` is closed first, if it has not been taken, so that the child does not wait for more.
    ///
    /// # Errors
    ///
    /// The errors of the system: on Unix `ECHILD` if the child was reaped by code outside of this crate.
    ///
    /// See [`Process`] for an example.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.stdin = None;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            system::child_ends(self.child()).await?;
        }
    }

    /// Returns the exit status if the child has ended, and reaps it; otherwise `None`. Does not block.
    ///
    /// # Errors
    ///
    /// Fails as [`wait`](Self::wait) does.
    ///
    /// ```
    /// use polyselect::asyncio::Process;
    /// use std::process::Command;
    ///
    /// let mut child = Process::spawn(Command::new("sleep").arg("1000"))?;
    /// assert!(child.try_wait()?.is_none());
    /// child.kill()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.as_mut().expect("there until the drop").try_wait()?;
            if self.status.is_some() {
                self.outside = None;
            }
        }
        Ok(self.status)
    }

    /// Kills the child, by `SIGKILL` or on Windows with the exit status 1; has no effect if the child has ended. Does not
    /// block.
    ///
    /// # Errors
    ///
    /// The error of the system call.
    ///
    /// See [`try_wait`](Self::try_wait) for an example.
    pub fn kill(&mut self) -> io::Result<()> {
        match self.try_wait()? {
            Some(_) => Ok(()),
            None => self.child.as_mut().expect("there until the drop").kill(),
        }
    }

    /// Sets whether the child is killed when this is dropped. By default it runs on.
    ///
    /// ```
    /// use polyselect::asyncio::Process;
    /// use std::process::Command;
    ///
    /// let mut child = Process::spawn(Command::new("sleep").arg("1000"))?;
    /// child.set_kill_on_drop(true);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_kill_on_drop(&mut self, kill: bool) {
        self.kill_on_drop = kill;
    }

    /// Writes `input` to the child, reads all that it writes to its piped outputs, and waits for its end.
    ///
    /// All three happen at the same time, so that full pipes do not stop the child. When it has ended, the bytes that
    /// are still in its pipes are read; it does not wait for a descendant that keeps a pipe open. It is not an
    /// error if the child does not read its whole input.
    ///
    /// # Errors
    ///
    /// `FileTooLarge` if an output is longer than `limit` bytes; the child is killed then. Also the errors of reading
    /// and of [`wait`](Self::wait).
    ///
    /// ```
    /// use polyselect::{EventLoop, asyncio::Process};
    /// use std::process::{Command, Stdio};
    ///
    /// let mut sort = Command::new("sort");
    /// let sort = Process::spawn(sort.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
    /// let output = EventLoop::new(())?.block_on(sort.communicate("b\na\n", 1024))??;
    /// assert!(output.status.success());
    /// assert_eq!(output.stdout, b"a\nb\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn communicate(
        mut self,
        input: impl AsRef<[u8]>,
        limit: usize,
    ) -> io::Result<Output> {
        let (stdin, stdout, stderr) = (self.stdin.take(), self.stdout.take(), self.stderr.take());
        let mut outputs = (Vec::new(), Vec::new());
        let status = {
            let write = async {
                // The child may end without having read everything.
                if let Some(stdin) = stdin {
                    stdin.write_all(input.as_ref()).await.ok();
                }
                Ok(())
            };
            let mut transfers: [Option<Transfer<'_>>; 3] = [
                Some(Box::pin(write)),
                Some(Box::pin(read_all(stdout.as_ref(), &mut outputs.0, limit))),
                Some(Box::pin(read_all(stderr.as_ref(), &mut outputs.1, limit))),
            ];
            let mut wait = pin!(self.wait());
            poll_fn(|context| {
                for transfer in &mut transfers {
                    if let Some(future) = transfer
                        && let Poll::Ready(result) = future.as_mut().poll(context)
                    {
                        *transfer = None;
                        result?;
                    }
                }
                wait.as_mut().poll(context)
            })
            .await
        };
        if status.is_err() {
            self.kill().ok();
        }
        let status = status?;
        // The pipes hold the bytes that it wrote last.
        for (pipe, output) in [(stdout, &mut outputs.0), (stderr, &mut outputs.1)] {
            if let Some(pipe) = pipe {
                drain(&pipe, output, limit)?;
            }
        }
        Ok(Output { status, stdout: outputs.0, stderr: outputs.1 })
    }
}

/// Moves bytes to the child or from it.
type Transfer<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + 'a>>;

fn extend(output: &mut Vec<u8>, bytes: &[u8], limit: usize) -> io::Result<()> {
    if limit - output.len() < bytes.len() {
        let message = format!("the process has written more than {limit} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, message));
    }
    output.extend_from_slice(bytes);
    Ok(())
}

/// Reads until the end of the stream.
async fn read_all(pipe: Option<&PipeReader>, output: &mut Vec<u8>, limit: usize) -> io::Result<()> {
    let Some(pipe) = pipe else { return Ok(()) };
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match pipe.read(&mut buffer).await? {
            0 => return Ok(()),
            n => extend(output, &buffer[..n], limit)?,
        }
    }
}

/// Reads the available bytes.
fn drain(pipe: &PipeReader, output: &mut Vec<u8>, limit: usize) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match pipe.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => extend(output, &buffer[..n], limit)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.kill_on_drop {
            self.kill().ok();
        }
        if !matches!(self.try_wait(), Ok(None)) {
            return;
        }
        if let Some(child) = self.child.take() {
            system::reap_later(child);
        }
    }
}
