//! The server's process: this program once more, with hidden arguments.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use polyselect_benches::CpuClock;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::servers::Contestant;

/// In the server's process: accepts so many connections and serves them until all are closed.
/// Accepting is the same for all, and over before anything is measured.
pub fn serve(contestant: &Contestant, connections: usize) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        streams.push(stream);
    }
    drop(listener);
    (contestant.serve)(streams)
}

/// In the generator's process: the server, which ends with it.
pub struct Server {
    child: Child,
    clock: CpuClock,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(contestant: &Contestant, connections: usize) -> io::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["--serve", contestant.name, "--connections", &connections.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut address)?;
        }
        let clock = CpuClock::of(child.id())?;
        match address.trim().parse() {
            Ok(address) => Ok(Self { child, clock, address }),
            Err(_) => {
                let _ = child.kill();
                let status = child.wait()?;
                Err(io::Error::other(format!("{} did not start: {status}", contestant.name)))
            }
        }
    }

    /// CPU time of its process so far.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        self.clock.read()
    }

    /// Its memory of its own (`RssAnon`: heaps and stacks, not the program), in KiB.
    pub fn memory(&self) -> io::Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path)?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        number.ok_or_else(|| io::Error::other(format!("{path} does not tell RssAnon")))
    }

    /// Waits until it has ended by itself, as it should when all connections are closed.
    pub fn finish(mut self) -> io::Result<()> {
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(io::Error::other(format!("the server: {status}"))),
                None if Instant::now() > patience => {
                    let message = "the server runs on with no connection left";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                }
                None => thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if it has ended already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
