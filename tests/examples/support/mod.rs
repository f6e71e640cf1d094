//! Starts examples, and stops them.

#![allow(dead_code)] // Not every system has every example.

#[cfg(unix)]
pub mod burst;
#[cfg(unix)]
pub mod python;
#[cfg(unix)]
pub mod subject;

use std::env;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The time limit for events that must happen. Only a failing test waits this long.
pub const SURELY: Duration = Duration::from_secs(100);

/// The folder of the examples: beside that of the tests.
fn folder() -> PathBuf {
    let this = env::current_exe().expect("has a path");
    this.ancestors().nth(2).expect("target/PROFILE/deps/TEST").join("examples")
}

/// `cargo test` has built them already; `cargo test --test examples` has not.
pub fn build_examples() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--examples"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if cfg!(feature = "async") {
        cargo.args(["--features", "async"]);
    }
    // Returns at once if the environment does not request disorder.
    if cfg!(feature = "testing") {
        cargo.args(["--features", "testing"]);
    }
    if folder().ends_with("release/examples") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo runs").success(), "the examples do not build");
}

pub fn example(name: &str) -> Command {
    let mut command = Command::new(folder().join(format!("{name}{}", env::consts::EXE_SUFFIX)));
    if let Some(disorder) = next_disorder() {
        eprintln!("{name} has POLYSELECT_DISORDER={disorder}");
        command.env("POLYSELECT_DISORDER", disorder);
    }
    command
}

/// With `POLYSELECT_DISORDER_SEEDS=promised:200`, each process of an example gets the next of 200 seeds.
fn next_disorder() -> Option<String> {
    static NEXT: AtomicU64 = AtomicU64::new(0);

    let value = env::var("POLYSELECT_DISORDER_SEEDS").ok()?;
    let parsed = value.split_once(':').and_then(|(level, n)| Some((level, n.parse::<u64>().ok()?)));
    let (level, number) = parsed.expect("a level and a number of seeds, such as promised:200");
    let seed = NEXT.fetch_add(1, Ordering::Relaxed) % number.max(1) + 1;
    Some(format!("{level}:{seed}"))
}

/// The same with a limit on descriptors.
pub fn with_descriptors(limit: u8, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n \"$0\"; exec \"$@\""]).arg(limit.to_string());
    limited.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited
}

/// An example that runs as a server. Dropping it kills it, if it has not been stopped.
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    pub address: SocketAddr,
    /// The lines before the address: none, unless `RUST_LOG` enables more.
    pub preamble: Vec<String>,
    /// Output that is not read but stays open.
    unread: Option<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts a server on a port of the system's choice and waits until it listens.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = example(name);
        command.args(["--addr", "127.0.0.1:0"]).args(arguments);
        Self::start_with(command)
    }

    pub fn start_with(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let output = BufReader::new(child.stdout.take().expect("is a pipe"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            // Output that no test waits for is read all the same, or the server would block.
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut preamble = Vec::new();
        let address = loop {
            let line = lines.recv_timeout(SURELY).expect("says where it listens");
            match line.strip_prefix("listening on ") {
                // Unix sockets have a file instead.
                Some(path) if path.starts_with('/') => break SocketAddr::from(([0, 0, 0, 0], 0)),
                Some(address) => break address.parse().expect("an address"),
                None => preamble.push(line),
            }
        };
        Self { child, lines, address, preamble, unread: None }
    }

    /// Starts a server without reading its output after the address, so that it fills the pipe.
    #[cfg(unix)]
    pub fn start_unread(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let mut output = BufReader::new(child.stdout.take().expect("is a pipe"));
        let mut line = String::new();
        while !line.starts_with("listening on ") {
            line.clear();
            assert_ne!(output.read_line(&mut line).expect("is text"), 0, "says where it listens");
        }
        let address = line["listening on ".len()..].trim_end().parse().expect("an address");
        let (_, lines) = channel();
        Self { child, lines, address, preamble: Vec::new(), unread: Some(output) }
    }

    /// Starts reading the output that `start_unread` leaves unread.
    #[cfg(unix)]
    pub fn read_output(&mut self) {
        if let Some(mut output) = self.unread.take() {
            thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        }
    }

    /// Suspends the server's process, like a system that is too busy to run it.
    #[cfg(unix)]
    pub fn suspend(&self) {
        use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::STOP).expect("is running");
        let (_, status) = waitpid(Some(process), WaitOptions::UNTRACED)
            .expect("is a child")
            .expect("has changed its state");
        assert!(status.stopped(), "it has ended: {status:?}");
    }

    /// Resumes a suspended process.
    #[cfg(unix)]
    pub fn resume(&self) {
        use rustix::process::{Pid, Signal, kill_process};

        kill_process(Pid::from_child(&self.child), Signal::CONT).expect("is suspended");
    }

    /// Waits for a line that contains this text.
    pub fn expect_line(&self, text: &str) -> String {
        let deadline = Instant::now() + SURELY;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(error) => panic!("no line with {text:?}: {error}"),
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGINT, as Ctrl-C does, and fails if the server does not end cleanly.
    #[cfg(unix)]
    pub fn stop(mut self) {
        use rustix::process::{Pid, Signal, kill_process};

        kill_process(Pid::from_child(&self.child), Signal::INT).expect("is running");
        let status = self.wait();
        assert!(status.success(), "stopped with {status}");
    }

    /// Stops the server, and returns its output since the last expected line.
    #[cfg(unix)]
    pub fn stop_and_read(mut self) -> Vec<String> {
        let lines = std::mem::replace(&mut self.lines, channel().1);
        self.stop();
        lines.iter().collect()
    }

    /// Waits until the server has ended on its own.
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a process, with a time limit.
pub fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + SURELY;
    loop {
        if let Some(status) = child.try_wait().expect("is a child") {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("process {} does not end", child.id());
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Polls for a condition that causes no event.
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SURELY;
    while !condition() {
        assert!(Instant::now() < deadline, "it does not come");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The children of a process, zombies included, where the system has `/proc`.
pub fn children_of(parent: u32) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let children = processes.filter_map(|process| {
        let process = process.ok()?;
        // A child that has ended meanwhile was not a zombie for long.
        let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        let is_child = fields.split(' ').nth(1)?.parse() == Ok(parent);
        is_child.then(|| process.file_name().to_str()?.parse().ok()).flatten()
    });
    children.collect()
}

/// Whether a process exists and has not ended, if the system has `/proc`.
pub fn is_running(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

/// Creates a named pipe by POSIX's command: not every system has a call that takes a path alone.
pub fn create_named_pipe(path: &Path) {
    let status = Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
    assert!(status.success(), "mkfifo: {status}");
}
