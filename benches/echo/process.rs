//! The server's process.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use polyselect_benches::{CpuClock, ServerProcess, end_with_parent, memory_of};

use crate::servers::Contestant;

/// Accepts `connections` connections, in the server's process, and serves them until all are closed.
/// All servers accept in the same way, before the measurement.
pub fn serve(contestant: &Contestant, connections: usize) -> io::Result<()> {
    end_with_parent()?;
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

/// The server, as the generator's process sees it. The server ends with the generator.
pub struct Server {
    process: ServerProcess,
    clock: CpuClock,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(contestant: &Contestant, connections: usize) -> io::Result<Self> {
        let connections = connections.to_string();
        let arguments = ["--serve", contestant.name, "--connections", &connections];
        let (process, address) =
            ServerProcess::start(contestant.name, &arguments.map(str::to_owned))?;
        let address = address.parse().map_err(io::Error::other)?;
        Ok(Self { clock: CpuClock::of(process.id())?, process, address })
    }

    /// Returns the CPU time of the server's process until now.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        self.clock.read()
    }

    /// Returns the anonymous memory of the server's process, in KiB.
    pub fn memory(&self) -> io::Result<f64> {
        Ok(memory_of(self.process.id())? as f64)
    }

    /// Waits until the server has ended, which happens when all connections are closed.
    pub fn finish(self) -> io::Result<()> {
        self.process.finish()
    }
}
