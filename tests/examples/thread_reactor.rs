use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use polyselect::Backend;

use crate::closed_port::closed_port;
use crate::support::subject::{Subject, connect};
use crate::support::{SURELY, Server, example};

static SUBJECT: Subject = Subject { example: "thread_reactor", answer: <[u8]>::to_vec };

/// The backends that several threads can share.
fn shared() -> impl Iterator<Item = Backend> {
    Backend::available().filter(|backend| backend.capabilities().shared)
}

pub fn trials() -> Vec<Trial> {
    let mut trials = SUBJECT.trials(shared());
    let silent = "a_silent_connection_is_closed_in_time";
    trials.extend(SUBJECT.own_on(shared(), silent, a_silent_connection_is_closed));
    let busy = "a_peer_that_never_stops_leaves_room_for_others";
    trials
        .extend(SUBJECT.own_on(shared(), busy, |backend| SUBJECT.leaves_room_for_others(backend)));
    trials.extend(SUBJECT.own_on(shared(), "hyper_pools_connections", hyper_pools_connections));
    let refused = ("a_connection_that_is_refused_is_an_error", a_refused_connection as _);
    trials.extend(SUBJECT.own(&[refused]));
    trials
}

fn a_silent_connection_is_closed(backend: Backend) -> Result<(), Failed> {
    const PATIENCE: Duration = Duration::from_millis(200);

    let mut command = SUBJECT.command(backend);
    command.args(["--patience", &PATIENCE.as_secs_f64().to_string()]);
    let server = Server::start_with(command);
    let start = Instant::now();
    let mut silent = connect(server.address)?;
    assert_eq!(std::io::Read::read(&mut silent, &mut [0; 8])?, 0);
    assert!(start.elapsed() >= PATIENCE);
    server.expect_line("timed out");
    server.stop();
    Ok(())
}

/// hyper may open a connection beside one that becomes free meanwhile, so the number varies.
fn hyper_pools_connections(backend: Backend) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("page"), [b'x'; 100_000])?;
    let folder = folder.path().to_str().ok_or("a name that is text")?;
    let server = Server::start("http_server", &[folder]);
    let url = format!("http://{}/page", server.address);
    let mut client = example("thread_reactor");
    client.args(["--get", &url, "--times", "40", "--backend", backend.name()]);
    let output = client.output()?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{text}");
    let connections = text
        .trim_end()
        .strip_prefix("40 requests, 4000000 bytes, {200}, ")
        .and_then(|rest| rest.strip_suffix(" connections"))
        .ok_or_else(|| format!("not the expected line: {text}"))?;
    assert!((1..40).contains(&connections.parse::<u32>()?), "{text}");
    server.stop();
    Ok(())
}

fn a_refused_connection() -> Result<(), Failed> {
    let (_closed, address) = closed_port();
    let start = Instant::now();
    let url = format!("http://{address}/");
    let output = example("thread_reactor").args(["--get", &url]).output()?;
    assert!(!output.status.success() && start.elapsed() < SURELY);
    Ok(())
}
