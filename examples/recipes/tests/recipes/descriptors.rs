//! `pass_descriptors`: connections go to the workers in turn.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use libtest_mimic::Failed;
use polyselect::Backend;

use crate::Case;
use crate::support::Program;

pub const CASES: &[Case] = &[("pass_descriptors_gives_each_worker_its_share", "", workers_share)];

fn workers_share(backend: Backend) -> Result<(), Failed> {
    let recipe = env!("CARGO_BIN_EXE_pass_descriptors");
    let server = Program::recipe(recipe, backend, &["127.0.0.1:0", "3"]);
    let address = server.address();
    let mut connections = Vec::new();
    let mut workers = HashSet::new();
    for _ in 0..30 {
        let mut reader = BufReader::new(TcpStream::connect(address)?);
        let mut greeting = String::new();
        reader.read_line(&mut greeting)?;
        workers.insert(greeting);
        connections.push(reader);
    }
    assert_eq!(workers.len(), 3, "{workers:?}");
    for (index, reader) in connections.iter_mut().enumerate() {
        let line = format!("number {index}\n");
        reader.get_mut().write_all(line.as_bytes())?;
        let mut echo = String::new();
        reader.read_line(&mut echo)?;
        assert_eq!(echo, line);
    }
    // The process that accepted has closed its own descriptors, so a worker's close ends the connection.
    for mut reader in connections {
        reader.get_ref().shutdown(std::net::Shutdown::Write)?;
        assert_eq!(reader.read_line(&mut String::new())?, 0);
    }
    Ok(())
}
