//! A server in a separate process: this program with hidden arguments.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use rustix::process::{Signal, set_parent_process_death_signal};

/// Ends the server's process together with its parent.
pub fn end_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::TERM))?)
}

/// The server, as its parent sees it. Dropping kills it.
#[derive(Debug)]
pub struct ServerProcess {
    name: &'static str,
    child: Child,
    /// Open while the server gets commands.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl ServerProcess {
    /// Starts this program with these arguments, and returns its first line of output.
    pub fn start(name: &'static str, arguments: &[String]) -> io::Result<(Self, String)> {
        let mut child = Command::new(env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = BufReader::new(output.ok_or_else(|| io::Error::other("no standard output"))?);
        let mut server = Self { name, child, input, output };
        let line = server.read_line()?;
        Ok((server, line))
    }

    /// Sends it a line.
    pub fn tell(&mut self, line: &str) -> io::Result<()> {
        match &mut self.input {
            Some(input) => input.write_all(format!("{line}\n").as_bytes()),
            None => Ok(()),
        }
    }

    /// Sends it a line, and returns the line of its reply.
    pub fn ask(&mut self, line: &str) -> io::Result<String> {
        self.tell(line)?;
        self.read_line()
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            let status = self.child.wait()?;
            return Err(io::Error::other(format!("{} has ended: {status}", self.name)));
        }
        Ok(line.trim().to_owned())
    }

    /// Of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Closes its input, and waits until it has ended by itself.
    pub fn finish(mut self) -> io::Result<()> {
        drop(self.input.take());
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(io::Error::other(format!("{}: {status}", self.name))),
                None if Instant::now() > patience => {
                    let message = format!("{} does not end after its input was closed", self.name);
                    return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                }
                None => thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Both fail if it has ended already, which does not matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The memory that a process has for itself (`RssAnon`: heaps and stacks, not the program), in KiB.
pub fn memory_of(process: u32) -> io::Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("{path} has no RssAnon")))
}
