//! Blocking work on threads, and name lookups.

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use polyselect::Backend;
use polyselect::asyncio::{self, Async};

use crate::event_loop::open;
use crate::support::*;

cases! {
    to_thread_returns_the_result_and_the_loop_goes_on,
    to_thread_returns_a_panic_as_a_join_error,
    a_dropped_future_of_to_thread_leaves_the_work_to_its_end,
    run_in_thread_calls_back_on_the_loop_with_values_that_are_not_send,
    a_panic_of_work_in_a_thread_is_not_called_a_panic_of_a_task,
    run_returns_when_the_work_of_threads_has_ended,
    all_of_much_work_at_once_is_done,
    a_loop_that_is_dropped_drops_the_callback_and_not_the_work,
    an_address_as_text_takes_no_lookup,
    a_name_without_an_address_is_an_error,
    connect_host_reaches_a_listener_on_either_family,
    connect_host_lists_the_errors_of_all_addresses,
    a_server_on_a_host_listens_on_all_its_addresses_and_closes_all,
    a_server_on_a_host_fails_completely_if_one_address_fails,
}

fn to_thread_returns_the_result_and_the_loop_goes_on(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (sender, receiver) = mpsc::channel();
    let here = thread::current().id();
    let work = asyncio::to_thread(move || {
        receiver.recv_timeout(SURELY).unwrap();
        thread::current().id()
    });
    // Only the loop ends the work.
    event_loop.call_later(A_WHILE, move |_loop| sender.send(()).unwrap());
    let there = event_loop.block_on(asyncio::timeout(SURELY, work)).unwrap().unwrap().unwrap();
    assert_ne!(there, here);
}

fn to_thread_returns_a_panic_as_a_join_error(backend: Backend) {
    let mut event_loop = open(backend, ());
    let work = || -> () { panic!("on purpose") };
    let failing = event_loop.block_on(asyncio::to_thread(work)).unwrap();
    let error = failing.unwrap_err();
    assert!(error.is_panic());
    assert_eq!(error.to_string(), "the work panicked: on purpose");
}

fn a_dropped_future_of_to_thread_leaves_the_work_to_its_end(backend: Backend) {
    let mut event_loop = open(backend, ());
    let ((begun, has_begun), (go_on, goes_on), (ended, has_ended)) =
        (mpsc::channel(), mpsc::channel(), mpsc::channel());
    let work = asyncio::to_thread(move || {
        begun.send(()).unwrap();
        goes_on.recv_timeout(SURELY).unwrap();
        ended.send(()).unwrap();
    });
    has_begun.recv_timeout(SURELY).unwrap();
    event_loop.block_on(asyncio::timeout(A_WHILE, work)).unwrap().unwrap_err();
    go_on.send(()).unwrap();
    has_ended.recv_timeout(SURELY).unwrap();
    event_loop.run().unwrap();
}

fn run_in_thread_calls_back_on_the_loop_with_values_that_are_not_send(backend: Backend) {
    let mut event_loop = open(backend, Vec::new());
    let not_send = Rc::new(Cell::new(0));
    let of_callback = Rc::clone(&not_send);
    event_loop.run_in_thread(
        || 42,
        move |event_loop, result| {
            of_callback.set(result.unwrap());
            event_loop.state.push("done");
        },
    );
    event_loop.run_in_thread(
        || panic!("on purpose"),
        |event_loop, result: Result<(), _>| {
            assert!(result.unwrap_err().is_panic());
            event_loop.state.push("panicked");
        },
    );
    event_loop.run().unwrap();
    event_loop.state.sort_unstable();
    assert_eq!((event_loop.state.as_slice(), not_send.get()), (&["done", "panicked"][..], 42));
}

fn a_panic_of_work_in_a_thread_is_not_called_a_panic_of_a_task(backend: Backend) {
    let mut event_loop = open(backend, String::new());
    event_loop.run_in_thread(
        || panic!("on purpose"),
        |event_loop, result: Result<(), _>| event_loop.state = result.unwrap_err().to_string(),
    );
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, "the work panicked: on purpose");
}

fn run_returns_when_the_work_of_threads_has_ended(backend: Backend) {
    let mut event_loop = open(backend, 0);
    event_loop.run().unwrap();
    for _ in 0..3 {
        event_loop.run_in_thread(|| (), |event_loop, _| event_loop.state += 1);
    }
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 3);
    event_loop.run().unwrap();
}

fn all_of_much_work_at_once_is_done(backend: Backend) {
    const WORKS: usize = 200;

    let mut event_loop = open(backend, ());
    let done = Arc::new(AtomicUsize::new(0));
    let works: Vec<_> = (0..WORKS)
        .map(|number| {
            let done = Arc::clone(&done);
            event_loop.spawn(asyncio::to_thread(move || {
                done.fetch_add(1, Ordering::Relaxed);
                number
            }))
        })
        .collect();
    for (number, work) in works.into_iter().enumerate() {
        assert_eq!(event_loop.block_on(work).unwrap().unwrap().unwrap(), number);
    }
    assert_eq!(done.load(Ordering::Relaxed), WORKS);
}

fn a_loop_that_is_dropped_drops_the_callback_and_not_the_work(backend: Backend) {
    struct Notices(mpsc::Sender<&'static str>);

    impl Drop for Notices {
        fn drop(&mut self) {
            self.0.send("callback dropped").unwrap();
        }
    }

    let mut event_loop = open(backend, ());
    let (notices, noticed) = mpsc::channel();
    let (begun, has_begun) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    let (of_work, of_callback) = (notices.clone(), Notices(notices));
    event_loop.run_in_thread(
        move || {
            begun.send(()).unwrap();
            goes_on.recv_timeout(SURELY).unwrap();
            of_work.send("work done").unwrap();
        },
        move |_loop, _result| drop(of_callback),
    );
    has_begun.recv_timeout(SURELY).unwrap();
    drop(event_loop);
    assert_eq!(noticed.recv_timeout(SURELY).unwrap(), "callback dropped");
    go_on.send(()).unwrap();
    assert_eq!(noticed.recv_timeout(SURELY).unwrap(), "work done");
}

fn an_address_as_text_takes_no_lookup(backend: Backend) {
    let mut event_loop = open(backend, ());
    for (text, address) in
        [("127.0.0.1", "127.0.0.1:7"), ("::1", "[::1]:7"), ("[fe80::1]", "[fe80::1]:7")]
    {
        let found = event_loop.block_on(asyncio::getaddrinfo(text, 7)).unwrap().unwrap();
        assert_eq!(found, [address.parse().unwrap()]);
    }
    // Without a thread the loop has nothing to wait for.
    assert_eq!(event_loop.stats().turns, 0);
}

fn a_name_without_an_address_is_an_error(backend: Backend) {
    let mut event_loop = open(backend, ());
    // The top-level domain of names that never exist (RFC 6761).
    let found = event_loop.block_on(asyncio::getaddrinfo("nowhere.invalid", 7)).unwrap();
    found.unwrap_err();
}

fn connect_host_reaches_a_listener_on_either_family(backend: Backend) {
    let mut event_loop = open(backend, ());
    for host in ["127.0.0.1", "::1"] {
        let Ok(listener) = TcpListener::bind((host, 0)) else { continue };
        let address = listener.local_addr().unwrap();
        // The other family refuses.
        let connect = Async::connect_host("localhost", address.port());
        let connect = asyncio::timeout(SURELY, connect);
        match event_loop.block_on(connect).unwrap().unwrap() {
            Ok(conn) => assert_eq!(conn.get_ref().peer_addr().unwrap(), address),
            // The system may give `localhost` one family only.
            Err(error) => assert!(!error.to_string().contains(host), "{error}"),
        }
    }
}

fn connect_host_lists_the_errors_of_all_addresses(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (_closed, address) = closed_port();
    let connect = Async::connect_host("127.0.0.1", address.port());
    let error =
        event_loop.block_on(asyncio::timeout(SURELY, connect)).unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

fn a_server_on_a_host_listens_on_all_its_addresses_and_closes_all(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let handle = |stream: Async<_>| async move { stream.write_all(b"hello").await };
            let server = asyncio::start_server_host("localhost", 0, handle).await.unwrap();
            let addrs = server.local_addrs().to_vec();
            assert!(!addrs.is_empty() && addrs.iter().all(|addr| addr.ip().is_loopback()));
            for &addr in &addrs {
                let conn = Async::connect(addr).await.unwrap();
                let mut text = [0; 5];
                conn.read_exact(&mut text).await.unwrap();
                assert_eq!(&text, b"hello");
            }
            server.close();
            asyncio::timeout(SURELY, server.wait_closed()).await.unwrap().unwrap();
        })
        .unwrap();
}

fn a_server_on_a_host_fails_completely_if_one_address_fails(backend: Backend) {
    let mut event_loop = open(backend, ());
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let start = asyncio::start_server_host("127.0.0.1", port, |_stream| async { Ok(()) });
    assert_eq!(event_loop.block_on(start).unwrap().unwrap_err().kind(), ErrorKind::AddrInUse);
    event_loop.run().unwrap();
    assert_eq!(event_loop.stats().sources, 0);
}
