//! hyper's clients and servers on one loop, and the timer, on every backend.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Executor, Timer};
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use polyselect::asyncio::{self, Async};
use polyselect::testing::{self, Disorder};
use polyselect::{Backend, EventLoop};
use polyselect_hyper::{LoopExecutor, LoopIo, LoopTimer};

fn on_every_backend(test: impl Fn(EventLoop)) {
    for backend in Backend::available() {
        eprintln!("on {backend}");
        test(EventLoop::with_backend(backend, ()).expect("opens"));
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    Ok(Response::new(request.into_body()))
}

fn request(index: usize) -> Request<Full<Bytes>> {
    let body = vec![b'x'; index * 1000];
    Request::post("http://here/").header("host", "here").body(body.into()).expect("is right")
}

#[test]
fn http1_requests_by_one_connection_are_answered_in_turn() {
    on_every_backend(|mut event_loop| {
        let talked: io::Result<()> = event_loop
            .block_on(async {
                let server = asyncio::start_server(([127, 0, 0, 1], 0), |stream| async {
                    let mut builder = server::conn::http1::Builder::new();
                    let connection = builder
                        .timer(LoopTimer::new())
                        .serve_connection(LoopIo::new(stream), service_fn(echo));
                    connection.await.map_err(io::Error::other)
                })?;
                let stream = Async::connect(server.local_addr().expect("is TCP")).await?;
                let handshake = client::conn::http1::handshake(LoopIo::new(stream));
                let (mut sender, connection) = handshake.await.map_err(io::Error::other)?;
                let connection = asyncio::spawn(connection);
                for index in 0..50 {
                    let reply = sender.send_request(request(index)).await.expect("is answered");
                    let body = reply.into_body().collect().await.expect("arrives");
                    assert_eq!(body.to_bytes().len(), index * 1000);
                }
                drop(sender);
                connection.await?.expect("ends");
                assert_eq!(server.stop(Duration::from_secs(20)).await, 0);
                Ok(())
            })
            .expect("the loop runs");
        talked.expect("no error");
    });
}

#[test]
fn http2_requests_by_one_connection_are_answered_at_the_same_time() {
    on_every_backend(|mut event_loop| {
        let talked: io::Result<()> = event_loop
            .block_on(async {
                let server = asyncio::start_server(([127, 0, 0, 1], 0), |stream| async {
                    let connection = server::conn::http2::Builder::new(LoopExecutor)
                        .timer(LoopTimer::new())
                        .keep_alive_interval(Some(Duration::from_millis(5)))
                        .serve_connection(LoopIo::new(stream), service_fn(echo));
                    connection.await.map_err(io::Error::other)
                })?;
                let stream = Async::connect(server.local_addr().expect("is TCP")).await?;
                let handshake = client::conn::http2::handshake(LoopExecutor, LoopIo::new(stream));
                let (sender, connection) = handshake.await.map_err(io::Error::other)?;
                let connection = asyncio::spawn(connection);
                let requests = (0..50).map(|index| {
                    let mut sender = sender.clone();
                    asyncio::spawn(async move {
                        let reply = sender.send_request(request(index)).await.expect("is answered");
                        let body = reply.into_body().collect().await.expect("arrives");
                        assert_eq!(body.to_bytes().len(), index * 1000);
                    })
                });
                for request in requests.collect::<Vec<_>>() {
                    request.await?;
                }
                // Some pings.
                asyncio::sleep(Duration::from_millis(30)).await;
                drop(sender);
                connection.await?.expect("ends");
                assert_eq!(server.stop(Duration::from_secs(20)).await, 0);
                Ok(())
            })
            .expect("the loop runs");
        talked.expect("no error");
    });
}

#[test]
fn tasks_of_the_executor_need_not_be_send_and_run_to_their_end() {
    on_every_backend(|mut event_loop| {
        let count = Rc::new(Cell::new(0));
        let spawned = Rc::clone(&count);
        event_loop.block_on(async { spawn_some(&spawned) }).expect("runs");
        event_loop.run().expect("runs");
        assert_eq!(count.get(), 3);
    });
}

fn spawn_some(count: &Rc<Cell<u32>>) {
    for _ in 0..3 {
        let count = Rc::clone(count);
        LoopExecutor.execute(async move {
            asyncio::sleep(Duration::from_millis(1)).await;
            count.set(count.get() + 1);
        });
    }
}

fn assert_send_and_sync<T: Send + Sync>(value: T) -> T {
    value
}

#[test]
fn sleeps_end_by_the_clock_of_a_lab_and_never_early() {
    testing::explore(0..20, Disorder::promised(), |_lab| {
        let timer = assert_send_and_sync(LoopTimer::new());
        let ended = Rc::new(Cell::new(0));
        let mut event_loop = EventLoop::new(()).expect("opens");
        for delay in [30, 10, 20, 10, 0, 1_000_000] {
            let (timer, ended) = (timer.clone(), Rc::clone(&ended));
            let wait = async move {
                let (start, delay) = (asyncio::now(), Duration::from_millis(delay));
                timer.sleep(delay).await;
                assert!(asyncio::now() - start >= delay);
                ended.set(ended.get() + 1);
            };
            event_loop.spawn(wait).detach();
        }
        event_loop.run().expect("runs");
        assert_eq!(ended.get(), 6);
        assert!(format!("{timer:?}").contains("sleeps: 0"));
    });
}

#[test]
fn a_sleep_that_is_dropped_does_not_keep_the_loop_from_ending() {
    on_every_backend(|mut event_loop| {
        let timer = LoopTimer::new();
        let start = Instant::now();
        event_loop
            .block_on(async {
                let mut sleeps =
                    [1000, 2000, 3000].map(|seconds| timer.sleep(Duration::from_secs(seconds)));
                for sleep in &mut sleeps {
                    assert!(future::poll_once(sleep).await.is_none());
                }
            })
            .expect("runs");
        event_loop.run().expect("runs");
        assert!(start.elapsed() < Duration::from_secs(900));
    });
}

#[test]
fn a_sleep_can_be_reset_to_an_earlier_and_to_a_later_deadline() {
    on_every_backend(|mut event_loop| {
        let timer = LoopTimer::new();
        event_loop
            .block_on(async {
                let start = timer.now();
                let mut sleep = timer.sleep(Duration::from_secs(1000));
                assert!(future::poll_once(&mut sleep).await.is_none());
                timer.reset(&mut sleep, start + Duration::from_millis(5));
                assert!(future::poll_once(&mut sleep).await.is_none());
                timer.reset(&mut sleep, start + Duration::from_millis(20));
                sleep.await;
                assert!(start.elapsed() >= Duration::from_millis(20));
                let mut never = timer.sleep(Duration::MAX);
                assert!(future::poll_once(&mut never).await.is_none());
                timer.reset(&mut never, timer.now());
                never.await;
            })
            .expect("runs");
    });
}

#[test]
fn when_the_loop_that_drives_a_timer_is_gone_another_goes_on() {
    on_every_backend(|mut event_loop| {
        let timer = LoopTimer::new();
        // The first loop drives, and is dropped while the sleep of the second waits.
        let mut first = EventLoop::new(()).expect("opens");
        let theirs = timer.clone();
        first.spawn(async move { theirs.sleep(Duration::from_secs(1000)).await }).detach();
        while !format!("{timer:?}").contains("sleeps: 1") {
            first.turn(Some(Duration::ZERO)).expect("runs");
        }
        let mut sleep = timer.sleep(Duration::from_millis(20));
        let mut first = Some(first);
        let ended = event_loop.block_on(async move {
            assert!(future::poll_once(&mut sleep).await.is_none());
            drop(first.take());
            asyncio::timeout(Duration::from_secs(20), sleep).await
        });
        ended.expect("runs").expect("the sleep ends");
    });
}

#[test]
fn sleeps_of_several_threads_by_one_timer_all_end() {
    let timer = LoopTimer::new();
    thread::scope(|scope| {
        for backend in Backend::available() {
            let timer = timer.clone();
            scope.spawn(move || {
                let mut event_loop = EventLoop::with_backend(backend, ()).expect("opens");
                event_loop
                    .block_on(async {
                        for round in 0..100 {
                            timer.sleep(Duration::from_micros(round * 7 % 100)).await;
                        }
                    })
                    .expect("runs");
            });
        }
    });
    assert!(format!("{timer:?}").contains("sleeps: 0"));
}

/// It cannot spawn a task; nothing must believe that one was spawned.
#[test]
fn a_timer_that_was_polled_outside_of_tasks_works_in_one() {
    let timer = LoopTimer::new();
    let mut sleep = timer.sleep(Duration::from_secs(1000));
    let poll = AssertUnwindSafe(|| sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    assert!(catch_unwind(poll).is_err());
    let ended = EventLoop::new(()).expect("opens").block_on(async {
        timer.reset(&mut sleep, timer.now() + Duration::from_millis(5));
        asyncio::timeout(Duration::from_secs(20), sleep).await
    });
    ended.expect("runs").expect("the sleep ends");
}
