//! The clients of a server, and its costs while it serves them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use super::models::Model;

pub struct Cost {
    /// The processor time per request.
    pub microseconds: f64,
    /// The memory per client.
    pub kibibytes: f64,
}

/// The largest number of clients that wait for an answer at the same time.
const ACTIVE: usize = 100;

pub fn measure(model: &Model, clients: usize, requests: usize) -> io::Result<Cost> {
    let mut server = Server::start(model)?;
    let mut connections = Vec::new();
    // The first client adds costs of the server itself: code paged in, buffers of the allocator.
    let first = (model.most > 1).then(|| server.connect()).transpose()?;
    let empty = server.memory()?;
    for _ in 0..clients {
        connections.push(server.connect()?);
    }
    let full = server.memory()?;
    drop(first);
    // The active clients are spread evenly over all.
    let step = clients.div_ceil(ACTIVE);
    let mut active: Vec<_> = connections.iter_mut().step_by(step).collect();
    let rounds = requests.div_ceil(active.len());
    let mut round = || {
        active.iter_mut().try_for_each(|conn| conn.write_all(&[b'x'; 64]))?;
        active.iter_mut().try_for_each(|conn| conn.read_exact(&mut [0; 64]))
    };
    for _ in 0..rounds / 10 {
        round()?;
    }
    let before = server.processor_time()?;
    for _ in 0..rounds {
        round()?;
    }
    let used = server.processor_time()? - before;
    Ok(Cost {
        microseconds: used as f64 / 1000.0 / (rounds * active.len()) as f64,
        // Less than before: the system has freed memory meanwhile.
        kibibytes: full.saturating_sub(empty) as f64 / clients as f64,
    })
}

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(model: &Model) -> io::Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args(["--serve", model.name])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        BufReader::new(output).read_line(&mut address)?;
        Ok(Self { process, address: address.trim_end().to_owned() })
    }

    /// A client that has been answered once, so that the server has allocated all it needs for it.
    fn connect(&mut self) -> io::Result<TcpStream> {
        let mut conn = TcpStream::connect(&self.address)?;
        conn.set_nodelay(true)?;
        conn.write_all(b"x")?;
        conn.read_exact(&mut [0])?;
        Ok(conn)
    }

    /// The server's process and its children.
    fn processes(&self) -> io::Result<Vec<String>> {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let children = children.split_whitespace().map(str::to_owned);
        Ok(children.chain([id.to_string()]).collect())
    }

    /// Nanoseconds of processor time of all threads of all processes.
    fn processor_time(&self) -> io::Result<u64> {
        let mut total = 0;
        for process in self.processes()? {
            for thread in fs::read_dir(format!("/proc/{process}/task"))? {
                let times = fs::read_to_string(thread?.path().join("schedstat"))?;
                total += times.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0);
            }
        }
        Ok(total)
    }

    /// Kibibytes; a page that processes share counts in parts.
    fn memory(&self) -> io::Result<u64> {
        let mut total = 0;
        for process in self.processes()? {
            let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
            let share = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            let share = share.and_then(|share| share.trim().strip_suffix(" kB"));
            total += share.and_then(|share| share.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(total)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
