//! Level-triggered delivery: an event is true at the end of the wait.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use polyselect::{Backend, Interest, Ready};

use crate::support::*;

cases! {
    #[cfg(unix)]
    a_hang_up_makes_a_full_stream_writable,
    a_level_lasts_until_drained,
    a_level_is_true_at_the_end_of_the_wait,
    a_blocking_listener_is_ready_only_for_a_connection,
    a_socket_is_writable_while_there_is_room,
    both_directions_are_one_event,
    an_end_of_stream_is_readable_and_read_closed,
    a_half_closed_peer_can_still_be_written_to,
    a_reset_makes_each_requested_direction_ready,
    a_connection_that_opens_becomes_writable,
    a_connection_that_is_refused_is_ready_with_an_error,
    urgent_data_has_priority needs priority,
    an_ended_stream_has_no_priority_data needs priority,
    a_reset_is_an_error,
    a_socket_that_listens_later_is_ready_for_a_connection,
    data_that_arrive_during_the_wait_end_it,
}

fn a_level_lasts_until_drained(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    expect_silence(&mut selector);
    right.write_all(b"hello").unwrap();
    for _ in 0..3 {
        assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    }
    assert_eq!(drain(selector[key].source()), 5);
    expect_silence(&mut selector);
    right.write_all(b"again").unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
}

/// A backend that queued its events would report the past.
fn a_level_is_true_at_the_end_of_the_wait(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    for _ in 0..10 {
        assert!(look(&mut selector).is_empty());
        right.write_all(b"!").unwrap();
        wait_for_data(selector[key].source());
        assert_eq!(drain(selector[key].source()), 1);
        expect_silence(&mut selector);
    }
}

fn a_blocking_listener_is_ready_only_for_a_connection(backend: Backend) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut selector = open(backend);
    let key = selector.register(listener, R, ()).unwrap();
    expect_silence(&mut selector);
    let clients = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
    for _ in &clients {
        assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
        selector[key].source().accept().unwrap();
    }
    // If an event were pending, a blocking `accept` would hang.
    expect_silence(&mut selector);
    let _client = TcpStream::connect(address).unwrap();
    expect_one(&mut selector, key);
    selector[key].source().accept().unwrap();
    expect_silence(&mut selector);
}

fn a_socket_is_writable_while_there_is_room(backend: Backend) {
    let (left, right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, W, ()).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::WRITABLE);
    fill_up(selector[key].source());
    expect_silence(&mut selector);
    drain(&right);
    assert_eq!(expect_one(&mut selector, key), Ready::WRITABLE);
}

fn both_directions_are_one_event(backend: Backend) {
    let (left, mut right) = pair();
    right.write_all(b"!").unwrap();
    wait_for_data(&left);
    let mut selector = open(backend);
    let key = selector.register(left, R | W, ()).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE | Ready::WRITABLE);
}

fn an_end_of_stream_is_readable_and_read_closed(backend: Backend) {
    let (left, mut right) = pair();
    right.write_all(b"last words").unwrap();
    drop(right);
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    wait_until(&mut selector, key, Ready::READABLE);
    assert_eq!(drain(selector[key].source()), 10);
    for _ in 0..3 {
        let ready = expect_one(&mut selector, key);
        assert!(ready.contains(Ready::READABLE), "{ready:?}");
        assert!(!ready.intersects(Ready::WRITABLE | Ready::PRIORITY | Ready::INVALID), "{ready:?}");
    }
}

fn a_half_closed_peer_can_still_be_written_to(backend: Backend) {
    let (left, right) = pair();
    right.shutdown(Shutdown::Write).unwrap();
    let mut selector = open(backend);
    let key = selector.register(left, R | W, ()).unwrap();
    wait_until(&mut selector, key, Ready::READABLE | Ready::WRITABLE);
    selector.modify(key, W).unwrap();
    let ready = expect_one(&mut selector, key);
    assert!(ready.contains(Ready::WRITABLE) && !ready.contains(Ready::READABLE), "{ready:?}");
    selector[key].source().write_all(b"answer").unwrap();
    wait_for_data(&right);
    assert_eq!(drain(&right), 6);
}

fn a_reset_makes_each_requested_direction_ready(backend: Backend) {
    for interest in [R, W, R | W] {
        let (left, right) = pair();
        fill(&left);
        let mut selector = open(backend);
        let key = selector.register(left, interest, ()).unwrap();
        reset(right);
        let asked = Ready::from(interest);
        wait_until(&mut selector, key, asked);
        let others = (Ready::READABLE | Ready::WRITABLE | Ready::PRIORITY) - asked;
        let ready = expect_one(&mut selector, key);
        assert!(!ready.intersects(others), "{ready:?} for {interest:?}");
        // Windows reports the error to reads only.
        let error = selector[key].source().take_error().unwrap();
        let kind = error.map(|error| error.kind());
        assert!(cfg!(windows) || kind == Some(ErrorKind::ConnectionReset), "{kind:?}");
        // Also after the error was taken.
        wait_until(&mut selector, key, asked);
    }
}

fn connecting(address: std::net::SocketAddr) -> socket2::Socket {
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)
            .unwrap();
    socket.set_nonblocking(true).unwrap();
    let _ = socket.connect(&address.into());
    socket
}

fn a_connection_that_opens_becomes_writable(backend: Backend) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut selector = open(backend);
    let socket = connecting(listener.local_addr().unwrap());
    let key = selector.register(socket, R | W, ()).unwrap();
    wait_until(&mut selector, key, Ready::WRITABLE);
    assert!(selector[key].source().take_error().unwrap().is_none());
    selector[key].source().peer_addr().unwrap();
}

fn a_connection_that_is_refused_is_ready_with_an_error(backend: Backend) {
    let (_closed, address) = closed_port();
    for interest in [R, W, R | W] {
        let mut selector = open(backend);
        let key = selector.register(connecting(address), interest, ()).unwrap();
        wait_until(&mut selector, key, Ready::from(interest));
        let error = selector[key].source().take_error().unwrap();
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::ConnectionRefused));
    }
}

fn urgent_data_has_priority(backend: Backend) {
    let (left, right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, P, ()).unwrap();
    (&right).write_all(b"in order").unwrap();
    expect_silence(&mut selector);
    socket2::SockRef::from(&right).send_out_of_band(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::PRIORITY);
    selector.modify(key, Interest::all()).unwrap();
    wait_until(&mut selector, key, Ready::READABLE | Ready::WRITABLE | Ready::PRIORITY);
}

fn data_that_arrive_during_the_wait_end_it(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    for _ in 0..20 {
        let thread = thread::spawn(move || {
            right.write_all(b"!").unwrap();
            right
        });
        wait_until(&mut selector, key, Ready::READABLE);
        right = thread.join().unwrap();
        drain(selector[key].source());
    }
}

/// A kernel may report the end of the stream to the filter for priority data.
fn an_ended_stream_has_no_priority_data(backend: Backend) {
    let (left, right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, P, ()).unwrap();
    right.shutdown(Shutdown::Write).unwrap();
    wait_for_data(selector[key].source());
    let (time, waited) = processor_time(|| {
        let events = select(&mut selector, 10 * A_WHILE);
        assert!(events.is_empty(), "not silent: {events:?}");
    });
    assert!(time < waited / 2, "{time:?} of {waited:?}");
}

fn a_reset_is_an_error(backend: Backend) {
    for interest in [R, W, R | W] {
        let (left, right) = pair();
        let mut selector = open(backend);
        let key = selector.register(left, interest, ()).unwrap();
        look(&mut selector);
        reset(right);
        wait_until(&mut selector, key, Ready::ERROR);
        assert!(selector[key].source().take_error().unwrap().is_some());
        // AFD reports a reset for as long as the socket is open.
        let still = expect_one(&mut selector, key).contains(Ready::ERROR);
        assert!(!still || backend == Backend::Afd);
    }
}

fn a_socket_that_listens_later_is_ready_for_a_connection(backend: Backend) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let mut selector = open(backend);
    let key = selector.register(socket, R, ()).unwrap();
    look(&mut selector);
    selector[key].source().listen(8).unwrap();
    expect_silence(&mut selector);
    let address = selector[key].source().local_addr().unwrap().as_socket().unwrap();
    let _client = TcpStream::connect(address).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    selector[key].source().accept().unwrap();
    expect_silence(&mut selector);
}

/// The kernel reports it without room for a byte.
#[cfg(unix)]
fn a_hang_up_makes_a_full_stream_writable(backend: Backend) {
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    for interest in [W, R | W] {
        let (left, right) = UnixStream::pair().unwrap();
        left.set_nonblocking(true).unwrap();
        fill(&left);
        let mut selector = open(backend);
        let key = selector.register(left, interest, ()).unwrap();
        expect_silence(&mut selector);
        right.shutdown(Shutdown::Both).unwrap();
        if backend == Backend::Select && interest == W {
            expect_silence(&mut selector); // Documented behaviour.
            continue;
        }
        assert!(expect_one(&mut selector, key).contains(Ready::from(interest)));
        let error = (&mut selector[key].source()).write(b"!").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}
