//! The processes of process_server, fork_server and process_pool_server, and how they end.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Server, children_of, is_running, wait_until};

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("process_server::leaves_no_zombie", || reaps("process_server")),
        Trial::test("fork_server::leaves_no_zombie", || reaps("fork_server")),
        Trial::test("fork_server::children_do_not_keep_the_port", the_port_is_free),
        Trial::test("process_pool_server::workers_are_there_before_the_clients", pre_started),
        Trial::test("process_pool_server::a_worker_that_is_killed_is_replaced", || {
            replaced(Signal::KILL)
        }),
        Trial::test("process_pool_server::a_worker_that_is_stopped_is_replaced", || {
            replaced(Signal::TERM)
        }),
        Trial::test("process_pool_server::a_worker_that_pauses_is_not_dead", pauses),
    ]
}

fn start(name: &str) -> Server {
    Server::start(name, &[])
}

fn send(process: u32, signal: Signal) -> Result<(), Failed> {
    Ok(kill_process(Pid::from_raw(process.cast_signed()).ok_or("a process")?, signal)?)
}

fn reaps(name: &str) -> Result<(), Failed> {
    let server = start(name);
    for _ in 0..20 {
        let mut client = TcpStream::connect(server.address)?;
        client.write_all(b"x")?;
        // The client's process exists by now.
        if name == "fork_server" {
            client.read_exact(&mut [0; 2])?;
        } else {
            server.expect_line("b\"x\"");
        }
    }
    // All processes end without another client connecting, and none stays a zombie.
    wait_until(|| children_of(server.id()).is_empty());
    server.stop();
    Ok(())
}

fn pre_started() -> Result<(), Failed> {
    let server = Server::start("process_pool_server", &["--workers", "3"]);
    wait_until(|| children_of(server.id()).len() == 3);
    let mut clients = Vec::new();
    for number in 0..3 {
        let mut client = TcpStream::connect(server.address)?;
        client.write_all(format!("client {number}").as_bytes())?;
        server.expect_line(&format!("b\"client {number}\""));
        clients.push(client);
    }
    // The pool is full: the next client waits until one has disconnected.
    let mut waiting = TcpStream::connect(server.address)?;
    waiting.write_all(b"has waited")?;
    clients[0].write_all(b"is served")?;
    server.expect_line("b\"is served\"");
    clients.pop();
    server.expect_line("b\"has waited\"");
    assert_eq!(children_of(server.id()).len(), 3);
    server.stop();
    Ok(())
}

fn replaced(signal: Signal) -> Result<(), Failed> {
    let server = Server::start("process_pool_server", &["--workers", "2"]);
    wait_until(|| children_of(server.id()).len() == 2);
    let victim = children_of(server.id())[0];
    send(victim, signal)?;
    server.expect_line("1 of the workers died");
    wait_until(|| {
        let workers = children_of(server.id());
        workers.len() == 2 && !workers.contains(&victim)
    });
    server.stop();
    Ok(())
}

/// A stopped process, as by Ctrl-Z. Dropping it continues the process.
struct Paused(u32);

impl Paused {
    fn new(process: u32) -> Result<Self, Failed> {
        send(process, Signal::STOP)?;
        let paused = Self(process);
        wait_until(|| status_of(process, "State:").starts_with('T'));
        Ok(paused)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        let _ = send(self.0, Signal::CONT);
    }
}

/// A line of the process's status, without its name.
fn status_of(process: u32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or_default().trim().to_owned()
}

/// If the server is killed and a child cannot have noticed, another server can take the port.
fn the_port_is_free() -> Result<(), Failed> {
    let mut server = start("fork_server");
    let mut client = TcpStream::connect(server.address)?;
    client.write_all(b"x")?;
    client.read_exact(&mut [0; 2])?;
    let child = children_of(server.id())[0];
    let paused = Paused::new(child)?;
    send(server.id(), Signal::KILL)?;
    assert!(!server.wait().success());
    assert!(is_running(child));
    let bound = TcpListener::bind(server.address);
    drop(paused);
    // A child stops with its parent.
    client.read_to_end(&mut Vec::new())?;
    wait_until(|| !is_running(child));
    bound?;
    Ok(())
}

/// SIGCHLD arrives when a worker is stopped, and again when it is continued.
fn pauses() -> Result<(), Failed> {
    let server = Server::start("process_pool_server", &["--workers", "2"]);
    wait_until(|| children_of(server.id()).len() == 2);
    let workers = children_of(server.id());
    // The number of times the server has gone to sleep: once more after each signal.
    let sleeps = || status_of(server.id(), "voluntary_ctxt_switches:");
    let is_asleep = || status_of(server.id(), "State:").starts_with('S');
    wait_until(is_asleep);
    let before = sleeps();
    let paused = Paused::new(workers[0])?;
    wait_until(|| sleeps() != before && is_asleep());
    let before = sleeps();
    drop(paused);
    wait_until(|| sleeps() != before && is_asleep());
    send(workers[1], Signal::KILL)?;
    server.expect_line("等待新客户端的到来");
    let next = server.expect_line("");
    assert!(next.contains("1 of the workers died"), "{next}");
    wait_until(|| children_of(server.id()).len() == 2);
    assert!(children_of(server.id()).contains(&workers[0]));
    server.stop();
    Ok(())
}
