//! Sources, sleeps and servers that belong to one loop and are awaited in another: refused while
//! the first loop lives, and working once it is gone.

use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::future::{or, poll_once};
use polyselect::asyncio::{self, Async, Elapsed};
use polyselect::{Backend, EventLoop};

use super::wait_in_vain;
use crate::event_loop::open;
use crate::support::*;

cases! {
    a_source_of_a_living_loop_is_refused_by_another in virtual time,
    a_listener_and_a_datagram_socket_of_a_living_loop_are_refused_too in virtual time,
    a_refused_source_goes_on_in_its_own_loop in virtual time,
    into_inner_of_a_source_of_another_loop_is_refused in virtual time,
    into_inner_is_woken_when_the_registration_has_ended in virtual time,
    into_inner_ends_although_the_loop_never_registered_the_source,
    a_source_whose_loop_is_gone_is_taken_out_by_another in virtual time,
    a_sleep_that_began_in_a_loop_that_is_gone_ends_in_the_next,
    a_timeout_that_began_in_a_loop_that_is_gone_ends_in_the_next,
    a_sleep_moves_between_living_loops,
}

fn registered_in(event_loop: &mut EventLoop) -> (Async<TcpStream>, TcpStream) {
    let (left, right) = pair();
    let left = Async::new(left).unwrap();
    event_loop.block_on(wait_in_vain(&left)).unwrap();
    (left, right)
}

async fn kinds(source: &Async<TcpStream>) -> [Result<(), ErrorKind>; 5] {
    let long = "more than fits ".repeat(1_000_000);
    let mut byte = [0];
    [
        source.readable().await.map_err(|error| error.kind()),
        source.read(&mut byte).await.map(drop).map_err(|error| error.kind()),
        source.read_with(|_| Ok(())).await.map_err(|error| error.kind()),
        source.writable().await.map_err(|error| error.kind()),
        source.write_all(long.as_bytes()).await.map_err(|error| error.kind()),
    ]
}

fn a_source_of_a_living_loop_is_refused_by_another(backend: Backend) {
    let (mut first, mut second) = (open(backend, ()), open(backend, ()));
    let (left, mut right) = registered_in(&mut first);
    for is_there in [false, true] {
        if is_there {
            right.write_all(b"data that is there").unwrap();
        }
        let results = second.block_on(asyncio::timeout(SURELY, kinds(&left))).unwrap().unwrap();
        assert_eq!(results, [Err(ErrorKind::InvalidInput); 5], "with data: {is_there}");
    }
}

fn a_listener_and_a_datagram_socket_of_a_living_loop_are_refused_too(backend: Backend) {
    let (mut first, mut second) = (open(backend, ()), open(backend, ()));
    let listener = Async::new(TcpListener::bind(("127.0.0.1", 0)).unwrap()).unwrap();
    let socket = Async::new(UdpSocket::bind(("127.0.0.1", 0)).unwrap()).unwrap();
    first.block_on(asyncio::timeout(A_WHILE, listener.accept())).unwrap().map(drop).unwrap_err();
    first.block_on(asyncio::timeout(A_WHILE, socket.recv(&mut [0]))).unwrap().unwrap_err();
    let refused = async {
        let accepted = listener.accept().await.map(drop);
        let next = listener.incoming().next().await.expect("an error").map(drop);
        [accepted, next, socket.recv(&mut [0]).await.map(drop)]
    };
    let refused = second.block_on(asyncio::timeout(SURELY, refused)).unwrap().unwrap();
    let kinds = refused.map(|result| result.map_err(|error| error.kind()));
    assert_eq!(kinds, [Err(ErrorKind::InvalidInput); 3]);
}

fn a_refused_source_goes_on_in_its_own_loop(backend: Backend) {
    let (mut first, mut second) = (open(backend, ()), open(backend, ()));
    let (left, mut right) = registered_in(&mut first);
    let reader = left.clone();
    let reader = first.spawn(async move { reader.read(&mut [0; 8]).await.unwrap() });
    first.turn(Duration::ZERO).unwrap();
    second.block_on(left.readable()).unwrap().unwrap_err();
    right.write_all(b"!").unwrap();
    assert_eq!(first.block_on(asyncio::timeout(SURELY, reader)).unwrap().unwrap().unwrap(), 1);
}

fn into_inner_of_a_source_of_another_loop_is_refused(backend: Backend) {
    let (mut first, mut second) = (open(backend, ()), open(backend, ()));
    let (left, right) = registered_in(&mut first);
    let taken = second.block_on(asyncio::timeout(SURELY, left.into_inner())).unwrap();
    assert_eq!(taken.expect("ends").unwrap_err().kind(), ErrorKind::InvalidInput);
    // It was the last handle, so the first loop drops the source.
    first.turn(Duration::ZERO).unwrap();
    wait_for_data(&right);
    assert_eq!(drain(&right), 0);
}

fn into_inner_is_woken_when_the_registration_has_ended(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, right) = registered_in(&mut event_loop);
    let (polls, mut taking) = (Cell::new(0), pin!(left.into_inner()));
    let counted = std::future::poll_fn(|context| {
        polls.set(polls.get() + 1);
        taking.as_mut().poll(context)
    });
    let left = event_loop.block_on(counted).unwrap().unwrap();
    assert!(polls.get() <= 3, "{} polls", polls.get());
    assert_eq!(left.peer_addr().unwrap(), right.local_addr().unwrap());
}

fn into_inner_ends_although_the_loop_never_registered_the_source(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, _right) = pair();
    let left = Async::new(left).unwrap();
    let taken = async {
        {
            // It waits, and is dropped before the loop has seen it.
            let mut reading = pin!(left.readable());
            assert!(poll_once(reading.as_mut()).await.is_none());
        }
        left.into_inner().await
    };
    let taken = event_loop.block_on(asyncio::timeout(SURELY, taken)).unwrap();
    drop(taken.expect("ends").unwrap());
}

fn a_source_whose_loop_is_gone_is_taken_out_by_another(backend: Backend) {
    let mut first = open(backend, ());
    let (left, right) = registered_in(&mut first);
    drop(first);
    let mut second = open(backend, ());
    let left = second.block_on(asyncio::timeout(SURELY, left.into_inner())).unwrap();
    assert_eq!(left.unwrap().unwrap().peer_addr().unwrap(), right.local_addr().unwrap());
}

/// Polls a future once in a loop, which is dropped then.
fn begin_in_a_loop_that_goes<R>(backend: Backend, future: Pin<&mut impl Future<Output = R>>) {
    let mut event_loop = open(backend, ());
    assert!(event_loop.block_on(poll_once(future)).unwrap().is_none());
    event_loop.turn(Duration::ZERO).unwrap();
}

fn a_sleep_that_began_in_a_loop_that_is_gone_ends_in_the_next(backend: Backend) {
    // Long enough not to end before the second loop on a busy machine.
    let delay = 25 * A_WHILE;
    let start = now();
    let mut sleep = pin!(asyncio::sleep(delay));
    begin_in_a_loop_that_goes(backend, sleep.as_mut());
    begin_in_a_loop_that_goes(backend, sleep.as_mut());
    let ended = open(backend, ()).block_on(with_a_limit(sleep)).unwrap();
    assert!(ended && now() - start >= delay);
}

/// Waits for a future up to a test's time limit, which is a thread's, not a timer's of the loop.
async fn with_a_limit(future: impl Future<Output = ()>) -> bool {
    let limit = async {
        let start = Instant::now();
        while start.elapsed() < SURELY {
            asyncio::yield_now().await;
        }
        false
    };
    let future = async {
        future.await;
        true
    };
    or(future, limit).await
}

fn a_timeout_that_began_in_a_loop_that_is_gone_ends_in_the_next(backend: Backend) {
    let mut timeout = pin!(asyncio::timeout(A_WHILE, std::future::pending::<()>()));
    begin_in_a_loop_that_goes(backend, timeout.as_mut());
    let ended = async { assert_eq!(timeout.await, Err(Elapsed)) };
    assert!(open(backend, ()).block_on(with_a_limit(ended)).unwrap());
}

fn a_sleep_moves_between_living_loops(backend: Backend) {
    let (mut first, mut second) = (open(backend, ()), open(backend, ()));
    let is_over = Rc::new(Cell::new(false));
    let mut sleep = pin!({
        let is_over = Rc::clone(&is_over);
        async move {
            asyncio::sleep(A_WHILE).await;
            is_over.set(true);
        }
    });
    assert!(first.block_on(poll_once(sleep.as_mut())).unwrap().is_none());
    assert_eq!(first.stats().pending_timers, 1);
    assert!(second.block_on(with_a_limit(sleep)).unwrap());
    first.turn(Duration::ZERO).unwrap();
    assert!(is_over.get());
    assert_eq!((first.stats().pending_timers, second.stats().pending_timers), (0, 0));
}
