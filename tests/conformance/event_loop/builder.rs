//! Settings of a loop take effect.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use polyselect::{Backend, EventLoop, Interest, Next};

use crate::support::*;

cases! {
    the_backend_is_the_one_that_was_chosen,
    a_small_batch_delivers_everything_in_several_iterations,
    the_accept_budget_bounds_what_an_iteration_accepts,
    #[cfg(target_os = "linux")]
    a_listener_rests_for_the_chosen_time in virtual time,
    slow_callbacks_are_reported_from_the_start in virtual time,
    #[cfg(feature = "async")]
    the_operation_budget_bounds_what_a_task_does_in_an_iteration,
}

fn the_backend_is_the_one_that_was_chosen(backend: Backend) {
    let event_loop = EventLoop::builder().backend(backend).build("state").unwrap();
    assert_eq!((event_loop.backend(), event_loop.state), (backend, "state"));
}

fn a_small_batch_delivers_everything_in_several_iterations(backend: Backend) {
    let mut event_loop = EventLoop::builder().backend(backend).batch_size(2).build([0; 8]).unwrap();
    let mut peers = Vec::new();
    for number in 0..8 {
        let (left, right) = pair();
        event_loop
            .register(left, Interest::WRITABLE.oneshot(), move |event_loop, _, _| {
                event_loop.state[number] += 1;
                Ok(Next::Keep)
            })
            .unwrap();
        peers.push(right);
    }
    while event_loop.state.contains(&0) {
        event_loop.turn(SURELY).unwrap();
    }
    assert_eq!(event_loop.state, [1; 8]);
}

fn the_accept_budget_bounds_what_an_iteration_accepts(backend: Backend) {
    let mut event_loop = EventLoop::builder().backend(backend).accept_budget(3).build(0).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    event_loop
        .accept(listener, |event_loop, _, _| {
            event_loop.state += 1;
            Ok(())
        })
        .unwrap();
    let _clients: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut before = 0;
    while event_loop.state < 10 {
        event_loop.turn(SURELY).unwrap();
        assert!(event_loop.state - before <= 3);
        before = event_loop.state;
    }
}

#[cfg(target_os = "linux")]
fn a_listener_rests_for_the_chosen_time(backend: Backend) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let rest = Duration::from_millis(1);
    let mut event_loop = EventLoop::builder().backend(backend).accept_rest(rest).build(0).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    event_loop
        .accept(listener, |event_loop, _, _| {
            event_loop.state += 1;
            Ok(())
        })
        .unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
    let client = TcpStream::connect(address).unwrap();
    let limit = getrlimit(Resource::Nofile);
    let next = client.try_clone().unwrap();
    let lowest = rustix::fd::AsRawFd::as_raw_fd(&next) as u64;
    drop(next);
    setrlimit(Resource::Nofile, Rlimit { current: Some(lowest), ..limit }).unwrap();
    let mut rests = 0;
    let start = now();
    while rests < 20 {
        let before = event_loop.stats().timers;
        event_loop.turn(SURELY).unwrap();
        rests += event_loop.stats().timers - before;
    }
    // Twenty of the default pauses are two seconds.
    assert!(now() - start >= 20 * rest);
    setrlimit(Resource::Nofile, limit).unwrap();
    while event_loop.state == 0 {
        event_loop.turn(SURELY).unwrap();
    }
}

fn slow_callbacks_are_reported_from_the_start(backend: Backend) {
    let builder = EventLoop::builder().backend(backend).busy_poll(Duration::from_micros(1));
    let mut event_loop = builder.slow_callback_threshold(A_WHILE).build(()).unwrap();
    event_loop.call_soon(|_| pass(2 * A_WHILE));
    event_loop.run().unwrap();
    assert_eq!(event_loop.stats().slow_callbacks, 1);
}

#[cfg(feature = "async")]
fn the_operation_budget_bounds_what_a_task_does_in_an_iteration(backend: Backend) {
    use polyselect::asyncio::Async;
    use std::cell::Cell;
    use std::net::UdpSocket;
    use std::rc::Rc;

    let mut event_loop =
        EventLoop::builder().backend(backend).operation_budget(3).build(()).unwrap();
    let socket = Async::new(UdpSocket::bind(("127.0.0.1", 0)).unwrap()).unwrap();
    let operations = Rc::new(Cell::new(0));
    let count = Rc::clone(&operations);
    let task = event_loop.spawn(async move {
        // The first budget of a source is the default.
        for _ in 0..100 {
            socket.read_with(|_| Ok(())).await.unwrap();
            count.set(count.get() + 1);
        }
    });
    let mut most = 0;
    while !task.is_finished() {
        let before = operations.get();
        event_loop.turn(SURELY).unwrap();
        if before > 32 {
            most = most.max(operations.get() - before);
        }
    }
    assert_eq!((most, operations.get()), (3, 100));
}
