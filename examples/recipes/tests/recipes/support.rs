//! Starting the recipes and their clients.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed};
use polyselect::Backend;

/// How long to wait for what must come. Only a failing test waits this long.
pub const SURELY: Duration = Duration::from_secs(60);

thread_local! {
    static SKIPPED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes the test that returns now one that is listed as ignored, with the reason.
pub fn skip(reason: impl Into<String>) {
    SKIPPED.set(Some(reason.into()));
}

pub fn completion() -> Completion {
    SKIPPED.take().map_or(Completion::Completed, Completion::ignored_with)
}

/// A program whose output is read line by line. Dropping it kills it.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    stdin: Option<ChildStdin>,
}

impl Program {
    /// Starts a recipe with a backend.
    pub fn recipe(path: &str, backend: Backend, arguments: &[&str]) -> Self {
        let mut command = Command::new(path);
        Self::start(command.args(arguments).env("POLYSELECT_BACKEND", backend.name()))
    }

    pub fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        let output = BufReader::new(child.stdout.take().expect("is a pipe"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // Every line is read, also if no test looks at it, because a full pipe would block the program.
                let _ = sender.send(line);
            }
        });
        let stdin = child.stdin.take();
        Self { child, lines, stdin }
    }

    /// Waits for a line that contains this text.
    pub fn expect_line(&self, text: &str) -> String {
        let deadline = Instant::now() + SURELY;
        let mut before = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => before.push(line),
                Err(error) => panic!("no line with {text:?} but {before:?}: {error}"),
            }
        }
    }

    /// Where a server listens.
    pub fn address(&self) -> SocketAddr {
        let line = self.expect_line("listening on ");
        line["listening on ".len()..].parse().expect("an address")
    }

    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("is open");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("reads");
    }

    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::INT).expect("is running");
    }

    /// Waits for the end.
    pub fn end(mut self) -> ExitStatus {
        self.wait_for_status()
    }

    fn wait_for_status(&mut self) -> ExitStatus {
        let deadline = Instant::now() + SURELY;
        loop {
            if let Some(status) = self.child.try_wait().expect("is a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for a good end and returns the lines that are left.
    pub fn wait(mut self) -> Vec<String> {
        let status = self.wait_for_status();
        let lines: Vec<_> = self.lines.iter().collect();
        assert!(status.success(), "{status}: {lines:?}");
        lines
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client to its end and returns its output.
pub fn output_of(command: &mut Command) -> Result<String, Failed> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8(output.stdout)?;
    if output.status.success() {
        return Ok(text);
    }
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{}: {text}{error}", output.status).into())
}

pub fn python(script: &str, arguments: &[String]) -> Result<String, Failed> {
    output_of(Command::new("python3").args(["-c", script]).args(arguments))
}

pub fn curl() -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "60", "--noproxy", "*"]);
    curl
}

/// A certificate for `localhost`, and its key, as files.
pub struct Certificate {
    folder: tempfile::TempDir,
}

impl Certificate {
    pub fn new() -> Result<Self, Failed> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names)?;
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem())?;
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem())?;
        Ok(Self { folder })
    }

    pub fn path(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        path.to_str().expect("is text").to_owned()
    }
}
