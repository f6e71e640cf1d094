//! Clients that could keep the server from stopping.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};

use super::{MIXINS, converse, start};
use crate::support::{Server, children_of, is_running, wait_until};

type Story = fn(&str) -> Result<(), Failed>;

pub fn trials() -> Vec<Trial> {
    let stories: [(&str, Story); 2] = [
        ("stops_beside_one_who_does_not_read", stops_beside_the_deaf),
        ("stops_beside_one_who_never_stops_talking", stops_beside_the_talker),
    ];
    let name = "socketserver::tcp::forking::a_child_that_is_stopped_stops_alone";
    let mut trials = vec![Trial::test(name, a_child_stops_alone)];
    for mixin in MIXINS {
        for (name, story) in stories {
            let name = format!("socketserver::tcp::{mixin}::{name}");
            trials.push(Trial::test(name, move || story(mixin)));
        }
    }
    trials
}

fn quiet(mixin: &str) -> Server {
    start("tcp", mixin, Path::new("unused"))
}

fn stop_with_children(server: Server) {
    let children = children_of(server.id());
    server.stop();
    wait_until(|| !children.iter().any(|&child| is_running(child)));
}

fn stops_beside_the_deaf(mixin: &str) -> Result<(), Failed> {
    let server = quiet(mixin);
    let mut deaf = TcpStream::connect(server.address)?;
    deaf.set_write_timeout(Some(Duration::from_millis(200)))?;
    // Until neither the answers nor the requests fit any more.
    while deaf.write(&[b'x'; 1024]).is_ok() {}
    stop_with_children(server);
    Ok(())
}

/// A client that has always sent another message by the time the server checks.
fn stops_beside_the_talker(mixin: &str) -> Result<(), Failed> {
    let server = quiet(mixin);
    let talker = TcpStream::connect(server.address)?;
    let mut talking = talker.try_clone()?;
    let talking = thread::spawn(move || while talking.write_all(&[b'x'; 65536]).is_ok() {});
    let mut listening = talker.try_clone()?;
    let listening =
        thread::spawn(
            move || {
                while listening.read(&mut [0; 65536]).is_ok_and(|length| length > 0) {}
            },
        );
    server.expect_line("Received data");
    stop_with_children(server);
    talking.join().expect("does not panic");
    listening.join().expect("does not panic");
    Ok(())
}

fn a_child_stops_alone() -> Result<(), Failed> {
    let server = quiet("forking");
    let mut client = TcpStream::connect(server.address)?;
    client.write_all(b"x")?;
    server.expect_line("Received data");
    let child = children_of(server.id())[0];
    kill_process(Pid::from_raw(child.cast_signed()).ok_or("a process")?, Signal::TERM)?;
    client.read_to_end(&mut Vec::new())?;
    converse(TcpStream::connect(server.address)?)?;
    server.stop();
    Ok(())
}
