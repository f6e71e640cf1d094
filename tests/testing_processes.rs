//! The lab beside other processes. A process that starts holds copies of all descriptors for a
//! moment, in which a closed stream does not end, so these tests have a binary of their own.

#![cfg(all(unix, feature = "testing"))]

#[path = "testing/environment.rs"]
mod environment;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::time::Duration;

use polyselect::testing::{Disorder, Faults, Lab, explore};
use polyselect::{EventLoop, Events, Interest, Next, Selector};

const HOUR: Duration = Duration::from_secs(3600);

/// Fails when the second of two ready sources is reported first.
fn fails_when_the_order_changes(_lab: &Lab) {
    let mut selector = Selector::new().unwrap();
    let mut peers = Vec::new();
    for number in 0..2 {
        let (source, mut peer) = UnixStream::pair().unwrap();
        selector.register(source, Interest::READABLE, number).unwrap();
        peer.write_all(b"x").unwrap();
        peers.push(peer);
    }
    let mut events = Events::with_capacity(8);
    selector.select(&mut events, HOUR).unwrap();
    let first = *selector[events.iter().next().unwrap().key].data();
    assert_eq!(first, 0, "the wrong order");
}

/// Runs a test of this binary that is ignored otherwise, with variables.
fn run(name: &str, variables: &[(&str, &str)]) -> (Output, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--ignored", "--nocapture"]);
    command.env_remove("POLYSELECT_SEED").env_remove("POLYSELECT_SEEDS");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = [&*output.stdout, &*output.stderr].concat();
    (output, String::from_utf8(text).unwrap())
}

#[test]
#[ignore = "fails, for other tests"]
fn fails() {
    explore(0..100, Disorder::promised(), fails_when_the_order_changes);
}

#[test]
#[ignore = "counts its runs, for other tests"]
fn counts() {
    let mut runs = 0;
    explore(0..3, Disorder::promised(), |_lab| runs += 1);
    println!("{runs} runs");
}

#[test]
fn the_command_that_a_failure_prints_runs_it_again() {
    let (output, text) = run("fails", &[]);
    assert!(!output.status.success());
    let command = text.split("POLYSELECT_SEED=").nth(1).expect(&text);
    let (seed, rest) = command.split_once(' ').unwrap();
    assert!(rest.starts_with("cargo test fails -- --exact --nocapture"), "{text}");
    assert!(text.contains("another order of events"), "{text}");

    let (output, text) = run("fails", &[("POLYSELECT_SEED", seed)]);
    assert!(!output.status.success());
    assert!(text.contains("the wrong order") && text.contains("another order of events"), "{text}");

    let (number, _) = seed.split_once(':').unwrap();
    let (output, text) = run("fails", &[("POLYSELECT_SEED", &format!("{number}:"))]);
    assert!(output.status.success(), "it passes without the decision: {text}");
}

#[test]
fn the_environment_sets_the_number_of_seeds() {
    assert!(run("counts", &[]).1.contains("3 runs"));
    assert!(run("counts", &[("POLYSELECT_SEEDS", "50")]).1.contains("50 runs"));
    assert!(run("counts", &[("POLYSELECT_SEED", "50")]).1.contains("1 runs"));
    for variable in ["POLYSELECT_SEED", "POLYSELECT_SEEDS"] {
        let (output, text) = run("counts", &[(variable, "many")]);
        assert!(!output.status.success());
        assert!(text.contains(variable) && text.contains("many"), "{text}");
    }
}

#[test]
#[ignore = "prints a fingerprint, for another test"]
fn fingerprint() {
    use std::io::Read;

    explore(1..2, Disorder::network(), |lab| {
        let mut event_loop = EventLoop::new(0).unwrap();
        for _ in 0..10 {
            let (source, mut peer) = UnixStream::pair().unwrap();
            source.set_nonblocking(true).unwrap();
            event_loop
                .register(
                    lab.flaky(source, Faults::mild()),
                    Interest::READABLE,
                    |_, mut source, _| {
                        let is_over = source.read(&mut [0; 4]).is_ok_and(|read| read == 0);
                        Ok(if is_over { Next::Remove } else { Next::Keep })
                    },
                )
                .unwrap();
            event_loop.call_later(HOUR, move |_loop| peer.write_all(&[0; 40]).unwrap());
        }
        event_loop.run().unwrap();
        println!("fingerprint={}", lab.fingerprint());
    });
}

#[test]
fn the_same_seed_is_the_same_run_in_another_process() {
    let run = || {
        let (_, text) = run("fingerprint", &[]);
        let start = text.find("fingerprint=").expect(&text);
        text[start..].lines().next().unwrap().to_owned()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_child_process_is_waited_for_in_its_own_time() {
    let lab = Lab::new(1, Disorder::none());
    let mut event_loop = EventLoop::in_lab(&lab, Vec::new()).unwrap();
    let child = Command::new("sleep").arg("0.05").spawn().unwrap();
    event_loop.watch_child(child, |event_loop, _| event_loop.state.push("ended")).unwrap();
    let timeout = event_loop.call_later(HOUR, |event_loop| event_loop.state.push("timeout"));
    while event_loop.state.is_empty() {
        event_loop.turn(None).unwrap();
    }
    assert_eq!(event_loop.state, ["ended"]);
    event_loop.cancel(timeout).unwrap();
    event_loop.call_later(HOUR, |event_loop| event_loop.state.push("later"));
    event_loop.run().unwrap(); // Time jumps again.
    assert_eq!(event_loop.state, ["ended", "later"]);
}
