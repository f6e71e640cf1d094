//! Each fault of a source happens as its field says, and no other does.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use polyselect::accept::Listener;
use polyselect::testing::{Disorder, Faults, Flaky, Lab};
use polyselect::{Events, Interest, Selector, Watch};
use rustix::io::Errno;

use crate::sockets::{Stream, is_supported, stream_pair};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const NONE: Faults = Faults::none();

fn labs() -> impl Iterator<Item = Lab> {
    (0..50).map(|seed| Lab::new(seed, Disorder::none()))
}

fn pair(lab: &Lab, faults: Faults) -> (Flaky<Stream>, Stream) {
    let (source, peer) = stream_pair().unwrap();
    source.set_nonblocking(true).unwrap();
    (lab.flaky(source, faults), peer)
}

/// Returns the errors of 200 reads of a byte, and the number of reads without one.
fn errors_of_reads(lab: &Lab, faults: Faults) -> (Vec<ErrorKind>, usize) {
    let (source, mut peer) = pair(lab, faults);
    peer.write_all(&[1; 200]).unwrap();
    let results: Vec<_> = (0..200).map(|_| (&source).read(&mut [0])).collect();
    let read = results.iter().filter(|result| result.is_ok()).count();
    (results.into_iter().filter_map(Result::err).map(|error| error.kind()).collect(), read)
}

#[test]
fn without_faults_a_source_is_as_it_was() {
    for lab in labs() {
        assert_eq!(errors_of_reads(&lab, NONE), (vec![], 200));
        assert!(lab.log().is_empty());
    }
}

#[test]
fn short_moves_less_and_never_nothing() {
    let (mut short_reads, mut short_writes) = (0, 0);
    for lab in labs() {
        let (mut source, mut peer) = pair(&lab, Faults { short: 128, ..NONE });
        peer.write_all(&[7; 100]).unwrap();
        let (mut received, mut buffer) = (0, [0; 100]);
        while received < 100 {
            let read = source.read(&mut buffer).unwrap();
            assert!(read > 0 && buffer[..read].iter().all(|&byte| byte == 7));
            short_reads += usize::from(read < 100 - received);
            received += read;
        }
        let sent = source.write(&[8; 100]).unwrap();
        assert!(sent > 0);
        short_writes += usize::from(sent < 100);
        assert_eq!(peer.read(&mut buffer).unwrap(), sent);
    }
    assert!(short_reads > 20 && short_writes > 10, "{short_reads} {short_writes}");
}

#[test]
fn would_block_ends_at_once_or_after_the_delay_and_is_reported_again() {
    let watches: [fn(Interest) -> Watch; 3] =
        [|interest| interest.into(), Interest::edge, Interest::oneshot];
    for watch in watches.into_iter().filter(|watch| is_supported(watch(Interest::READABLE))) {
        let (mut at_once, mut later) = (0, 0);
        for lab in labs() {
            let faults = Faults { would_block: 128, delay: 3 * MS, ..NONE };
            let (source, mut peer) = pair(&lab, faults);
            let mut selector = Selector::in_lab(&lab, None).unwrap();
            let key = selector.register(source, watch(Interest::READABLE), ()).unwrap();
            let mut events = Events::with_capacity(8);
            peer.write_all(b"x").unwrap();
            loop {
                let before = lab.now();
                assert_eq!(selector.select(&mut events, SECOND).unwrap(), 1);
                let waited = lab.now() - before;
                assert!(waited <= 3 * MS, "{waited:?}");
                let read = selector[key].source().read(&mut [0]);
                let Err(error) = read else { break };
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                let before = lab.now();
                selector.modify(key, Interest::READABLE).unwrap(); // Re-arms a one-shot.
                assert_eq!(selector.select(&mut events, SECOND).unwrap(), 1, "{}", lab.log());
                let is_at_once = lab.now() == before;
                at_once += usize::from(is_at_once);
                later += usize::from(!is_at_once);
                selector.modify(key, Interest::READABLE).unwrap();
                if selector[key].source().read(&mut [0]).is_ok() {
                    break;
                }
            }
        }
        assert!(at_once > 5 && later > 5, "{at_once} {later}");
    }
}

#[test]
fn a_oneshot_that_was_reported_stays_disarmed_when_a_fault_ends() {
    let watches = [Interest::READABLE.oneshot(), Interest::READABLE.edge().oneshot()];
    for watch in watches.into_iter().filter(|&watch| is_supported(watch)) {
        for lab in labs() {
            let (source, mut peer) = pair(&lab, Faults { would_block: 255, ..NONE });
            let mut selector = Selector::in_lab(&lab, None).unwrap();
            let key = selector.register(source, watch, ()).unwrap();
            let mut events = Events::with_capacity(8);
            peer.write_all(b"x").unwrap();
            assert_eq!(selector.select(&mut events, SECOND).unwrap(), 1);
            assert!(selector[key].source().read(&mut [0]).is_err());
            for _ in 0..3 {
                assert_eq!(selector.select(&mut events, SECOND).unwrap(), 0, "{watch:?}");
            }
            selector.modify(key, Interest::READABLE).unwrap();
            assert_eq!(selector.select(&mut events, SECOND).unwrap(), 1, "{watch:?}");
        }
    }
}

#[test]
fn a_source_that_blocks_stays_so_until_its_delay_has_passed() {
    let is_later = |lab: &Lab| {
        let (source, mut peer) = pair(lab, Faults { would_block: 128, ..NONE });
        peer.write_all(b"xx").unwrap();
        let blocks = |source: &Flaky<Stream>| {
            let mut source = source;
            source.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        };
        // Ten errors in a row belong to one lasting fault, except in one run of a thousand.
        if !(0..10).all(|_| blocks(&source)) {
            return false;
        }
        lab.advance(10 * MS);
        (0..10).any(|_| !blocks(&source))
    };
    assert!(labs().filter(is_later).count() > 5);
}

#[test]
fn interrupted_and_reset_are_the_errors_of_their_names() {
    let (mut interrupted, mut reset) = (0, 0);
    for lab in labs() {
        let (errors, read) = errors_of_reads(&lab, Faults { interrupted: 64, ..NONE });
        assert!(errors.iter().all(|&kind| kind == ErrorKind::Interrupted));
        assert_eq!(errors.len() + read, 200);
        interrupted += errors.len();

        let (errors, read) = errors_of_reads(&lab, Faults { reset: 2, ..NONE });
        assert!(errors.iter().all(|&kind| kind == ErrorKind::ConnectionReset));
        // Each operation after the first reset fails: the data was read before.
        let (source, mut peer) = pair(&lab, Faults { reset: 255, ..NONE });
        peer.write_all(b"x").unwrap();
        let is_reset = (&source).read(&mut [0]).is_err();
        assert!(!is_reset || (&source).write(b"x").is_err());
        reset += usize::from(!errors.is_empty() && read > 0);
    }
    assert!(interrupted > 1_000, "{interrupted}");
    assert!(reset > 10, "{reset}");
}

#[test]
fn exhausted_and_aborted_fail_accept_and_keep_the_connection() {
    let cases = [
        (Faults { exhausted: 128, ..NONE }, Errno::MFILE),
        (Faults { aborted: 128, ..NONE }, Errno::CONNABORTED),
    ];
    for (faults, expected) in cases {
        let mut failed = 0;
        for lab in labs() {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let listener = lab.flaky(listener, faults);
            let _client = TcpStream::connect(address).unwrap();
            let accepted = loop {
                match listener.accept() {
                    Ok((conn, _)) => break conn,
                    Err(error) => {
                        let kind = std::io::Error::from(expected).kind();
                        assert_eq!(error.kind(), kind, "{error}");
                        failed += 1;
                    }
                }
            };
            assert_eq!(accepted.local_addr().unwrap(), address);
        }
        assert!(failed > 10, "{failed}");
    }
}

#[test]
fn a_delayed_source_does_not_pass_its_delay_on_to_the_next_of_its_number() {
    for lab in labs() {
        let mut selector = Selector::in_lab(&lab, None).unwrap();
        let mut events = Events::with_capacity(8);
        let (source, mut peer) = pair(&lab, Faults { would_block: 255, delay: SECOND, ..NONE });
        peer.write_all(b"x").unwrap();
        let key = selector.register(source, Interest::READABLE, ()).unwrap();
        assert!(selector[key].source().read(&mut [0]).is_err());
        drop(selector.unregister(key).unwrap());
        drop(peer);

        let (source, mut peer) = pair(&lab, NONE);
        peer.write_all(b"x").unwrap();
        selector.register(source, Interest::READABLE, ()).unwrap();
        let before = lab.now();
        assert_eq!(selector.select(&mut events, SECOND).unwrap(), 1);
        assert_eq!(lab.now(), before);
    }
}

#[test]
fn a_source_that_is_not_registered_does_not_pass_its_delay_on_either() {
    for lab in labs() {
        let (source, mut peer) = pair(&lab, Faults { would_block: 255, delay: SECOND, ..NONE });
        peer.write_all(b"x").unwrap();
        assert!((&source).read(&mut [0]).is_err());
        drop((source, peer));

        let (source, mut peer) = pair(&lab, NONE);
        peer.write_all(b"x").unwrap();
        let mut selector = Selector::in_lab(&lab, None).unwrap();
        selector.register(source, Interest::READABLE, ()).unwrap();
        let before = lab.now();
        assert_eq!(selector.select(&mut Events::with_capacity(8), SECOND).unwrap(), 1);
        assert_eq!(lab.now(), before);
    }
}
