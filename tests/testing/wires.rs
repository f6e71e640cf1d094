//! Streams whose bytes travel in the time of the lab.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use polyselect::testing::{Disorder, Lab, Link, Wire};
use polyselect::{Events, Interest, Selector};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn lab() -> Lab {
    Lab::new(1, Disorder::none())
}

struct Receiver {
    lab: Lab,
    selector: Selector<UnixStream>,
    events: Events,
}

/// A stream to write to, one that is read by a selector, and their wire.
fn connect(lab: &Lab, link: Link) -> (UnixStream, Receiver, Wire) {
    let (sender, receiver, wire) = lab.stream_pair(link).unwrap();
    let mut selector = Selector::in_lab(lab, None).unwrap();
    selector.register(receiver, Interest::READABLE, ()).unwrap();
    (sender, Receiver { lab: lab.clone(), selector, events: Events::with_capacity(8) }, wire)
}

impl Receiver {
    /// Waits for bytes; returns their number and the time. `None` if nothing arrives in an hour.
    fn receive(&mut self) -> Option<(usize, Duration)> {
        loop {
            if self.selector.select(&mut self.events, 3600 * SECOND).unwrap() == 0 {
                return None;
            }
            let mut stream = self.selector.iter().next().unwrap().1.source();
            match stream.read(&mut [0; 64 * 1024]) {
                Ok(read) => return Some((read, self.lab.elapsed())),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }
}

#[test]
fn bytes_come_after_the_latency_and_keep_their_distance() {
    let lab = lab();
    let (mut sender, mut receiver, _wire) = connect(&lab, Link::new().latency(20 * MS));
    sender.write_all(b"first").unwrap();
    assert_eq!(receiver.selector.select(&mut receiver.events, 5 * MS).unwrap(), 0);
    sender.write_all(b"second").unwrap();
    assert_eq!(receiver.receive(), Some((5, 20 * MS)));
    assert_eq!(receiver.receive(), Some((6, 25 * MS)));
}

#[test]
fn bandwidth_makes_many_bytes_take_longer() {
    let lab = lab();
    let (mut sender, mut receiver, _wire) = connect(&lab, Link::new().bandwidth(1_000));
    sender.write_all(&[0; 500]).unwrap();
    assert_eq!(receiver.receive(), Some((500, 500 * MS)));
    sender.write_all(&[0; 100]).unwrap();
    assert_eq!(receiver.receive(), Some((100, 600 * MS)));
}

#[test]
fn a_slow_link_makes_the_sender_wait_and_loses_nothing() {
    const TOTAL: usize = 1_000_000;

    let lab = lab();
    let (sender, mut receiver, _wire) = connect(&lab, Link::new().bandwidth(100_000));
    let (mut sent, mut received, mut was_full) = (0, 0, false);
    while received < TOTAL {
        match (&sender).write(&vec![0; TOTAL - sent]) {
            Ok(written) => sent += written,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        was_full |= sent < TOTAL;
        received += receiver.receive().unwrap().0;
    }
    assert!(was_full && lab.elapsed() >= 10 * SECOND, "{:?}", lab.elapsed());
}

#[test]
fn the_end_of_a_stream_comes_after_its_bytes() {
    let lab = lab();
    let (mut sender, mut receiver, _wire) = connect(&lab, Link::new().latency(20 * MS));
    sender.write_all(b"last").unwrap();
    drop(sender);
    assert_eq!(receiver.receive(), Some((4, 20 * MS)));
    assert_eq!(receiver.receive(), Some((0, 20 * MS)));
}

#[test]
fn one_direction_can_end_before_the_other() {
    let lab = lab();
    let (sender, mut receiver, _wire) = connect(&lab, Link::new());
    sender.shutdown(Shutdown::Write).unwrap();
    assert_eq!(receiver.receive().unwrap().0, 0);
    receiver.selector.iter().next().unwrap().1.source().write_all(b"answer").unwrap();
    let mut selector = Selector::in_lab(&lab, None).unwrap();
    let key = selector.register(sender, Interest::READABLE, ()).unwrap();
    assert_eq!(selector.select(&mut receiver.events, SECOND).unwrap(), 1);
    assert_eq!(selector[key].source().read(&mut [0; 16]).unwrap(), 6);
}

#[test]
fn writes_fail_when_the_reader_is_gone() {
    let lab = lab();
    let (mut sender, receiver, _wire) = connect(&lab, Link::new().latency(MS));
    drop(receiver);
    let mut selector: Selector<UnixStream> = Selector::in_lab(&lab, None).unwrap();
    let mut events = Events::with_capacity(8);
    let mut result = Ok(0);
    for _ in 0..5 {
        result = sender.write(b"x");
        selector.select(&mut events, 10 * MS).unwrap();
    }
    assert_eq!(result.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_stall_holds_bytes_and_the_end_back() {
    let lab = lab();
    let (mut sender, mut receiver, wire) = connect(&lab, Link::new());
    wire.stall(5 * SECOND);
    sender.write_all(b"x").unwrap();
    drop((sender, wire));
    assert_eq!(receiver.receive(), Some((1, 5 * SECOND)));
    assert_eq!(receiver.receive(), Some((0, 5 * SECOND)));
}

#[test]
fn a_peer_that_has_vanished_is_silent() {
    let lab = lab();
    let (mut sender, mut receiver, wire) = connect(&lab, Link::new());
    wire.vanish();
    sender.write_all(b"x").unwrap();
    drop(sender);
    assert_eq!(receiver.receive(), None);
    assert_eq!(lab.elapsed(), 3600 * SECOND);
}

#[test]
fn delay_splits_bytes_into_pieces_and_keeps_their_order() {
    let mut pieces = 0;
    for seed in 0..50 {
        let lab = Lab::new(seed, Disorder { delay: 128, ..Disorder::none() });
        let (mut sender, mut receiver, _wire) = connect(&lab, Link::new());
        sender.write_all(&(0..100).collect::<Vec<u8>>()).unwrap();
        drop(sender);
        let mut received = Vec::<u8>::new();
        loop {
            if receiver.selector.select(&mut receiver.events, None).unwrap() == 0 {
                continue;
            }
            let mut stream = receiver.selector.iter().next().unwrap().1.source();
            let mut buffer = [0; 128];
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => received.extend(&buffer[..read]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            pieces += 1;
        }
        assert!(received.into_iter().eq(0..100));
    }
    assert!(pieces > 60, "{pieces}");
}

#[test]
fn what_is_under_way_is_no_reason_to_give_up() {
    let lab = lab();
    let (mut sender, mut receiver, _wire) = connect(&lab, Link::new().latency(3600 * SECOND));
    sender.write_all(b"x").unwrap();
    assert_eq!(receiver.selector.select(&mut receiver.events, None).unwrap(), 1);
    assert_eq!(lab.elapsed(), 3600 * SECOND);
}
