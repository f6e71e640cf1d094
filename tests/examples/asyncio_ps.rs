use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::Stdio;

use libtest_mimic::{Failed, Trial};
use polyselect::Backend;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::example;

pub fn trials() -> Vec<Trial> {
    let trial = |backend: Backend| {
        let name = format!("asyncio_ps::{backend}::lists_tasks_and_what_they_wait_for");
        Trial::test(name, move || lists_tasks(backend))
    };
    Backend::available().map(trial).collect()
}

fn lists_tasks(backend: Backend) -> Result<(), Failed> {
    let mut program = example("asyncio_ps");
    let mut child = program.args(["--backend", backend.name()]).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("is piped")?).lines();
    let listening = lines.next().ok_or("a line")??;
    let address = listening.strip_prefix("listening on ").ok_or("the address")?;
    let client = TcpStream::connect(address)?;
    let pid = Pid::from_raw(child.id().try_into()?).ok_or("a process id")?;
    let name = format!("client {}", client.local_addr()?);
    // The client may not have been accepted yet.
    let text = loop {
        kill_process(pid, Signal::USR1)?;
        let mut text = String::new();
        // An empty line ends the list.
        while !text.ends_with("\n\n") {
            text.push_str(&lines.next().ok_or("a line")??);
            text.push('\n');
        }
        if text.contains(&name) && text.contains("timer in") {
            break text;
        }
    };
    for expected in [
        "\"acceptor\", spawned at examples/asyncio_ps.rs",
        "READABLE",
        "\"heartbeat\"",
        "waits for a timer in ",
        ", registered at examples/asyncio_ps.rs",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    kill_process(pid, Signal::TERM)?;
    assert!(child.wait()?.success());
    Ok(())
}
