//! The cost of a wait beside idle connections.

use std::io::{self, Read, Write};
use std::time::Duration;

use polyselect::Backend;

use super::common::printing::{print, say};
use super::{Server, common};

/// The number of waits that each figure is the median of.
const ROUNDS: usize = 101;

/// Prints how long a wait takes that reports a few active connections among many idle ones.
pub fn measure(most: usize) -> io::Result<()> {
    const ACTIVE: [usize; 2] = [1, 100];

    let needed = 2 * (most + ACTIVE[1]) as u64 + 64;
    if let Some(limit) = common::descriptor_limit().filter(|&limit| limit < needed) {
        let message = format!(
            "{most} idle connections need {needed} descriptors, and this process may have {limit}: \
             `ulimit -n {needed}` in this shell raises the limit"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut steps = vec![most / 100, most / 10, most];
    steps.dedup();
    for active in ACTIVE {
        say!("microseconds for a wait with {active} active connections, by idle ones");
        print(format_args!("{:9}", ""));
        steps.iter().for_each(|step| print(format_args!("{step:>11}")));
        say!();
        for backend in Backend::available() {
            print(format_args!("{backend:9}"));
            for &idle in &steps {
                let median = time_of_a_wait(backend, active, idle)?;
                print(format_args!("{:>11.1}", median.as_secs_f64() * 1e6));
            }
            say!();
        }
    }
    Ok(())
}

/// The median of many waits.
fn time_of_a_wait(backend: Backend, active: usize, idle: usize) -> io::Result<Duration> {
    let mut server = Server::new(backend, common::bind("127.0.0.1:0")?)?;
    let addr = server.epoll[server.listener].source().local_addr()?;
    let mut clients = Vec::with_capacity(active + idle);
    for _ in 0..active + idle {
        let client = common::tcp_socket(&addr)?;
        client.connect(&addr)?;
        server.round()?;
        clients.push(client);
    }
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        for mut client in &clients[..active] {
            client.write_all(b"x")?;
        }
        times.extend(server.round()?);
        for mut client in &clients[..active] {
            client.read_exact(&mut [0])?;
        }
    }
    times.sort_unstable();
    Ok(times[ROUNDS / 2])
}
