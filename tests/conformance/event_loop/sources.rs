//! Registering sources, and the effect of a callback's result on its registration.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;

use polyselect::{Backend, Interest, Next};

use super::{echo_until_the_end, open};
use crate::support::*;

cases! {
    a_source_is_dropped_with_its_registration,
    next_keeps_modifies_and_removes,
    register_with_passes_the_key,
    a_source_that_cannot_be_registered_is_given_back,
    take_gives_the_source_back,
    take_of_a_running_callback_is_refused,
    errors_of_stale_keys_name_the_loop,
    parts_lend_state_and_sources,
    clear_leaves_timers_and_calls in virtual time,
    the_mode_stays_when_the_interest_changes needs oneshot,
    an_echo_server_handles_partial_writes,
}

fn a_source_is_dropped_with_its_registration(backend: Backend) {
    let (left, right) = pair();
    let (left, callback) = (Rc::new(left), Rc::new(()));
    let mut event_loop = open(backend, ());
    let kept = Rc::clone(&callback);
    let key = event_loop
        .register(Rc::clone(&left), Interest::READABLE, move |_, _, _| {
            let _ = &kept;
            Ok(Next::Keep)
        })
        .unwrap();
    assert_eq!((Rc::strong_count(&left), Rc::strong_count(&callback)), (2, 2));
    event_loop.unregister(key).unwrap();
    assert_eq!((Rc::strong_count(&left), Rc::strong_count(&callback)), (1, 1));
    assert_eq!(event_loop.unregister(key).unwrap_err().kind(), io::ErrorKind::NotFound);
    let modified = event_loop.modify(key, Interest::READABLE);
    assert_eq!(modified.unwrap_err().kind(), io::ErrorKind::NotFound);
    drop(right);
}

fn next_keeps_modifies_and_removes(backend: Backend) {
    let (left, mut right) = pair();
    let mut event_loop = open(backend, Vec::new());
    let key = event_loop
        .register(left, Interest::READABLE, |event_loop, mut left, event| {
            event_loop.state.push(event.ready);
            if event.is_writable() {
                return Ok(Next::Remove);
            }
            left.read_exact(&mut [0])?;
            let first = event_loop.state.len() == 1;
            Ok(if first { Next::Keep } else { Next::Modify(Interest::WRITABLE) })
        })
        .unwrap();
    for turns in 1..=2 {
        right.write_all(b"x").unwrap();
        event_loop.turn(SURELY).unwrap();
        assert_eq!(event_loop.state.len(), turns);
        assert!(event_loop.contains(key));
    }
    event_loop.run().unwrap();
    assert!(event_loop.state[2].contains(polyselect::Ready::WRITABLE));
    assert!(!event_loop.contains(key) && event_loop.is_empty());
    // A removed source is closed.
    right.set_nonblocking(false).unwrap();
    assert_eq!(right.read(&mut [0]).unwrap(), 0);
}

fn register_with_passes_the_key(backend: Backend) {
    let (left, right) = pair();
    let mut event_loop = open(backend, None);
    let key = event_loop
        .register_with(left, Interest::READABLE, |key| {
            move |event_loop: &mut polyselect::EventLoop<_>, _: &TcpStream, _| {
                event_loop.state = Some(key);
                Ok(Next::Remove)
            }
        })
        .unwrap();
    drop(right);
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, Some(key));
}

fn a_source_that_cannot_be_registered_is_given_back(backend: Backend) {
    let (left, _right) = pair();
    let left = Rc::new(left);
    let mut event_loop = open(backend, ());
    let callback = |_: &mut polyselect::EventLoop<()>, _: &Rc<TcpStream>, _| Ok(Next::Keep);
    event_loop.register(Rc::clone(&left), Interest::READABLE, callback).unwrap();
    let error = event_loop.register(Rc::clone(&left), Interest::READABLE, callback).unwrap_err();
    assert_eq!(error.error().kind(), io::ErrorKind::AlreadyExists);
    let (_, source, _callback) = error.into_parts();
    assert!(Rc::ptr_eq(&source, &left));
    let error = event_loop.register_with(source, Interest::READABLE, |_key| callback).unwrap_err();
    assert!(Rc::ptr_eq(&error.into_parts().1, &left));
    assert_eq!((event_loop.len(), Rc::strong_count(&left)), (1, 2));
}

fn take_gives_the_source_back(backend: Backend) {
    let (left, mut right) = pair();
    let mut event_loop = open(backend, ());
    let key = event_loop.register(left, Interest::READABLE, |_, _, _| Ok(Next::Keep)).unwrap();
    assert!(event_loop.get::<TcpStream>(key).is_some());
    let wrong = event_loop.take::<std::net::UdpSocket>(key).unwrap_err();
    assert_eq!(wrong.kind(), io::ErrorKind::InvalidInput);
    let mut left: TcpStream = event_loop.take(key).unwrap();
    assert_eq!(event_loop.take::<TcpStream>(key).unwrap_err().kind(), io::ErrorKind::NotFound);
    left.write_all(b"still open").unwrap();
    right.set_nonblocking(false).unwrap();
    right.read_exact(&mut [0; 10]).unwrap();
}

fn take_of_a_running_callback_is_refused(backend: Backend) {
    let (left, right) = pair();
    let mut event_loop = open(backend, None);
    event_loop
        .register(left, Interest::READABLE, |event_loop, _, event| {
            let error = event_loop.take::<TcpStream>(event.key).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
            event_loop.call_soon(move |event_loop| {
                event_loop.state = event_loop.take::<TcpStream>(event.key).ok();
            });
            Ok(Next::Modify(Interest::empty()))
        })
        .unwrap();
    drop(right);
    event_loop.run().unwrap();
    assert!(event_loop.state.is_some());
}

fn errors_of_stale_keys_name_the_loop(backend: Backend) {
    let (left, _right) = pair();
    let mut event_loop = open(backend, ());
    let key = event_loop.register(left, W, |_, _, _| Ok(Next::Keep)).unwrap();
    event_loop.unregister(key).unwrap();
    let timer = event_loop.call_later(SURELY, |_| ());
    event_loop.cancel(timer).unwrap();
    for error in [
        event_loop.unregister(key).unwrap_err(),
        event_loop.modify(key, W).unwrap_err(),
        event_loop.take::<TcpStream>(key).unwrap_err(),
        event_loop.cancel(timer).unwrap_err(),
    ] {
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let message = error.to_string();
        assert!(message.contains("of this event loop"), "{message}");
        assert!(message.contains("another loop"), "{message}");
        assert!(!message.contains("Handle"), "{message}");
    }
}

fn parts_lend_state_and_sources(backend: Backend) {
    let (left, right) = pair();
    let mut event_loop = open(backend, Vec::new());
    for source in [left, right] {
        let key = event_loop.register(source, Interest::empty(), |event_loop, _, event| {
            event_loop.state.retain(|&key| key != event.key);
            Ok(Next::Remove)
        });
        event_loop.state.push(key.unwrap());
    }
    let (keys, mut sources) = event_loop.parts();
    let mut walked: Vec<_> = sources.keys().collect();
    walked.sort();
    keys.sort();
    assert_eq!(*keys, walked);
    for &mut key in keys {
        assert_eq!(sources.interest(key), Some(Interest::empty()));
        assert!(sources.get::<TcpStream>(key).is_some());
        sources.modify(key, Interest::WRITABLE).unwrap();
    }
    event_loop.run().unwrap();
    assert!(event_loop.state.is_empty());
}

fn clear_leaves_timers_and_calls(backend: Backend) {
    let (left, right) = pair();
    let mut event_loop = open(backend, 0);
    let remote = event_loop.remote().unwrap();
    for source in [left, right] {
        event_loop.register(source, Interest::WRITABLE, |_, _, _| unreachable!()).unwrap();
    }
    event_loop.call_later(A_WHILE, |event_loop| event_loop.state += 1);
    event_loop.call_soon(|event_loop| event_loop.state += 10);
    remote.call(|event_loop| event_loop.state += 100).unwrap();
    drop(remote);
    event_loop.clear().unwrap();
    assert!(event_loop.is_empty());
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 111);
}

fn the_mode_stays_when_the_interest_changes(backend: Backend) {
    let (left, _right) = pair();
    let mut event_loop = open(backend, 0);
    let once = Interest::WRITABLE.oneshot();
    let key = event_loop.register(left, once, |event_loop, _, _| {
        event_loop.state += 1;
        Ok(Next::Keep)
    });
    let key = key.unwrap();
    for fired in 1..=3 {
        event_loop.turn(SURELY).unwrap();
        event_loop.turn(std::time::Duration::ZERO).unwrap();
        assert_eq!(event_loop.state, fired);
        event_loop.modify(key, Interest::WRITABLE).unwrap();
    }
}

fn an_echo_server_handles_partial_writes(backend: Backend) {
    const LENGTH: usize = 3_000_000;

    let mut event_loop = open(backend, ());
    let address = echo_until_the_end::<65536>(&mut event_loop);
    let client = std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        let mut reader = client.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            let bytes: Vec<u8> = (0..LENGTH).map(|n| (n % 251) as u8).collect();
            client.write_all(&bytes).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            bytes
        });
        // The client reads late, so that the server's writes do not fit.
        let bytes = {
            let mut echoed = vec![0; LENGTH];
            reader.read_exact(&mut echoed).unwrap();
            echoed
        };
        assert!(bytes == writer.join().unwrap());
    });
    event_loop.run().unwrap();
    client.join().unwrap();
}
