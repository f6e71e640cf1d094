//! The number of usable connections: the round trip of one client among a growing number of silent ones.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use polyselect_benches::Spread;

const MESSAGE: usize = 64;
const ROUND_TRIPS: usize = 500;

/// Returns the medians in µs, one for each number in `connections`, which is ascending.
pub fn round_trips(addresses: &[SocketAddr], connections: &[usize]) -> io::Result<Vec<f64>> {
    let mut clients = Vec::new();
    let mut medians = Vec::new();
    for &connections in connections {
        while clients.len() < connections {
            let client = TcpStream::connect(addresses[clients.len() % addresses.len()])?;
            client.set_nodelay(true)?;
            clients.push(client);
        }
        // All have been accepted when the last of each address has got a reply.
        for client in clients.iter_mut().rev().take(addresses.len()) {
            round_trip(client)?;
        }
        let client = &mut clients[0];
        let times: io::Result<Vec<_>> = (0..ROUND_TRIPS).map(|_| round_trip(client)).collect();
        medians.push(Spread::of(times?).median);
    }
    Ok(medians)
}

fn round_trip(client: &mut TcpStream) -> io::Result<f64> {
    let start = Instant::now();
    client.write_all(&[1; MESSAGE])?;
    client.read_exact(&mut [0; MESSAGE])?;
    Ok(start.elapsed().as_nanos() as f64 / 1000.0)
}
