//! What `docs/works_with.md` says of other crates: each is used on the loop, with every backend, and nothing else runs
//! but the threads that the crate itself brings.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use polyselect::asyncio::{self, Async};
use polyselect::{Backend, EventLoop};

/// Runs a test once for each backend, for at most a minute.
fn on_every_backend<F: Future<Output = ()>>(test: impl Fn() -> F) {
    for backend in Backend::available() {
        eprintln!("on {backend}");
        let mut event_loop = EventLoop::with_backend(backend, ()).expect("opens");
        let test = asyncio::timeout(Duration::from_secs(60), test());
        event_loop.block_on(test).expect("runs").expect("ends");
    }
}

/// Two ends of a connection over loopback.
async fn pair() -> (Async<TcpStream>, Async<TcpStream>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
    let client = TcpStream::connect(listener.local_addr().expect("is bound")).expect("connects");
    let (server, _) = listener.accept().expect("accepts");
    (Async::new(client).expect("is a socket"), Async::new(server).expect("is a socket"))
}

/// Sends from another thread, after the receiver has begun to wait.
fn later(work: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(5));
        work();
    });
}

#[test]
fn futures_combines_tasks_channels_and_streams() {
    use futures::channel::{mpsc, oneshot};
    use futures::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use futures::stream::{FuturesUnordered, StreamExt};
    use futures::{FutureExt, SinkExt};

    on_every_backend(|| async {
        let (sender, receiver) = oneshot::channel();
        later(move || sender.send(1).expect("is awaited"));
        let sleep = asyncio::sleep(Duration::from_millis(1)).map(|()| 2);
        assert_eq!(futures::join!(receiver, sleep), (Ok(1), 2));

        let (mut sender, receiver) = mpsc::channel(1);
        let sending = asyncio::spawn(async move {
            for number in 0..100 {
                sender.send(number).await.expect("is read");
            }
        });
        assert_eq!(receiver.collect::<Vec<_>>().await, (0..100).collect::<Vec<_>>());
        sending.await.expect("ends");

        let many: FuturesUnordered<_> = (0..50)
            .map(|number| asyncio::sleep(Duration::from_millis(number % 5)).map(move |()| number))
            .collect();
        assert_eq!(many.collect::<Vec<_>>().await.len(), 50);

        let (left, right) = pair().await;
        let (reader, mut writer) = (left.clone(), left);
        let echo = asyncio::spawn(async move {
            let (reader, mut writer) = (right.clone(), right);
            futures::io::copy(reader, &mut writer).await.expect("no error");
            writer.close().await.expect("no error");
        });
        AsyncWriteExt::write_all(&mut writer, b"one\ntwo\n").await.expect("no error");
        writer.close().await.expect("no error");
        let lines: Vec<_> = BufReader::new(reader).lines().map(Result::unwrap).collect().await;
        assert_eq!(lines, ["one", "two"]);
        echo.await.expect("ends");
    });
}

#[test]
fn futures_lite_races_and_reads() {
    use futures_lite::{AsyncReadExt, AsyncWriteExt, future};

    on_every_backend(|| async {
        let never = asyncio::sleep(Duration::from_secs(1000));
        let soon = asyncio::sleep(Duration::from_millis(1));
        future::or(never, soon).await;
        let (mut left, mut right) = pair().await;
        let write = async {
            left.write_all(&[7; 1_000_000]).await.expect("no error");
            left.close().await.expect("no error");
        };
        let mut bytes = Vec::new();
        let (_, read) = future::zip(write, right.read_to_end(&mut bytes)).await;
        assert_eq!(read.expect("no error"), 1_000_000);
    });
}

#[test]
fn async_channel_carries_messages_between_threads_and_tasks() {
    on_every_backend(|| async {
        let (sender, receiver) = async_channel::bounded(3);
        let (answers, answered) = async_channel::unbounded();
        let consumer = thread::spawn(move || {
            while let Ok(number) = receiver.recv_blocking() {
                answers.send_blocking(number * 2).expect("is read");
            }
        });
        for number in 0..100 {
            sender.send(number).await.expect("is read");
        }
        drop(sender);
        for number in 0..100 {
            assert_eq!(answered.recv().await, Ok(number * 2));
        }
        assert!(answered.recv().await.is_err());
        consumer.join().expect("ends");
    });
}

#[test]
fn async_lock_excludes_tasks_and_bounds_them() {
    on_every_backend(|| async {
        let (mutex, semaphore) =
            (Rc::new(async_lock::Mutex::new(0)), async_lock::Semaphore::new(3));
        let (semaphore, most, at_once) = (Rc::new(semaphore), Rc::new(Cell::new(0)), Rc::default());
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (mutex, semaphore) = (Rc::clone(&mutex), Rc::clone(&semaphore));
                let (most, at_once): (_, Rc<Cell<u32>>) = (Rc::clone(&most), Rc::clone(&at_once));
                asyncio::spawn(async move {
                    let _permit = semaphore.acquire().await;
                    at_once.set(at_once.get() + 1);
                    most.set(most.get().max(at_once.get()));
                    let mut count = mutex.lock().await;
                    let before = *count;
                    asyncio::yield_now().await;
                    *count = before + 1;
                    at_once.set(at_once.get() - 1);
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("ends");
        }
        assert_eq!((*mutex.lock().await, most.get()), (20, 3));
    });
}

#[test]
fn event_listener_wakes_a_task_from_another_thread() {
    on_every_backend(|| async {
        let event = Arc::new(event_listener::Event::new());
        let (first, second) = (event.listen(), event.listen());
        let notified = Arc::clone(&event);
        later(move || assert_eq!(notified.notify(usize::MAX), 2));
        first.await;
        second.await;
    });
}

#[test]
fn tokio_sync_works_without_tokios_runtime() {
    use tokio::sync::{Mutex, Notify, Semaphore, broadcast, mpsc, oneshot, watch};

    on_every_backend(|| async {
        let (sender, receiver) = oneshot::channel();
        later(move || sender.send(1).expect("is awaited"));
        assert_eq!(receiver.await, Ok(1));

        let (sender, mut receiver) = mpsc::channel(2);
        later(move || (0..100).for_each(|number| sender.blocking_send(number).expect("is read")));
        for number in 0..100 {
            assert_eq!(receiver.recv().await, Some(number));
        }
        assert_eq!(receiver.recv().await, None);

        let (sender, mut receiver) = watch::channel(0);
        later(move || sender.send(3).expect("is watched"));
        assert_eq!(*receiver.wait_for(|&value| value == 3).await.expect("is sent"), 3);

        let (sender, mut receiver) = broadcast::channel(2);
        sender.send(4).expect("is read");
        assert_eq!(receiver.recv().await, Ok(4));

        let (notify, mutex, semaphore) =
            (Arc::new(Notify::new()), Mutex::new(5), Semaphore::new(0));
        let notifying = Arc::clone(&notify);
        later(move || notifying.notify_one());
        tokio::select! {
            () = notify.notified() => {}
            _permit = semaphore.acquire() => unreachable!("it has no permit"),
        }
        assert_eq!(*mutex.lock().await, 5);
    });
}

#[test]
fn blocking_runs_work_on_its_threads() {
    on_every_backend(|| async {
        let here = thread::current().id();
        let there = blocking::unblock(move || {
            thread::sleep(Duration::from_millis(2));
            thread::current().id()
        });
        assert_ne!(there.await, here);
        let file = std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let mut file = blocking::Unblock::new(file.expect("is there"));
        let mut text = String::new();
        futures_lite::AsyncReadExt::read_to_string(&mut file, &mut text).await.expect("is text");
        assert!(text.contains("polyselect-recipes"));
    });
}

/// It starts tokio's runtime on a thread of its own, on which tokio's sockets and timers then live.
#[test]
fn async_compat_runs_futures_of_tokio_beside_the_loop() {
    use async_compat::Compat;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    on_every_backend(|| async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
        let address = listener.local_addr().expect("is bound");
        later(move || {
            let (mut peer, _) = listener.accept().expect("accepts");
            peer.read_exact(&mut [0; 10]).expect("is sent");
            peer.write_all(b"hello").expect("is read");
        });
        let talk = Compat::new(async {
            let mut stream = tokio::net::TcpStream::connect(address).await?;
            stream.write_all(b"from tokio").await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            std::io::Result::Ok(text)
        });
        assert_eq!(talk.await.expect("no error"), "hello");
    });
}

/// `compat` of tokio-util gives an `Async` tokio's traits.
#[test]
fn tokio_util_makes_tokios_io_of_a_source() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio_util::compat::FuturesAsyncReadCompatExt;

    on_every_backend(|| async {
        let (left, right) = pair().await;
        let (mut left, right) = (left.compat(), right.compat());
        let write = async {
            left.write_all(b"one\ntwo\n").await.expect("no error");
            left.shutdown().await.expect("no error");
        };
        let read = async {
            let mut lines = BufReader::new(right).lines();
            let mut all = Vec::new();
            while let Some(line) = lines.next_line().await.expect("is text") {
                all.push(line);
            }
            all
        };
        assert_eq!(tokio::join!(write, read).1, ["one", "two"]);
    });
}

/// The waker of a task can be kept by any crate, and used from any thread, more than once and too late.
#[test]
fn a_waker_may_be_used_from_any_thread_at_any_time() {
    on_every_backend(|| async {
        let mut polls = 0;
        poll_fn(|context| {
            polls += 1;
            let waker = context.waker().clone();
            thread::spawn(move || {
                waker.wake_by_ref();
                waker.wake();
            });
            if polls < 10 { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    });
}

/// The page names a version and a test for each crate: that is the version which is asked for here, and the test exists.
#[test]
fn the_page_tells_the_truth() {
    const PAGE: &str = include_str!("../../../docs/works_with.md");
    const DEPENDENCIES: &str = include_str!("../Cargo.toml");
    const TESTS: &str = concat!(
        include_str!("works_with.rs"),
        include_str!("recipes/downloads.rs"),
        include_str!("recipes/http.rs"),
        include_str!("recipes/postgres.rs"),
        include_str!("recipes/tls.rs"),
        include_str!("recipes/websocket.rs"),
        include_str!("../../../polyselect-hyper/tests/clients.rs"),
        include_str!("../../../polyselect-hyper/tests/on_the_loop.rs"),
    );
    let rows: Vec<_> = PAGE.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() >= 16, "{rows:?}");
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, version, what, tests] = cells[..] else { panic!("four cells: {row}") };
        assert!(!what.is_empty());
        let name = name.trim_matches('`');
        let dependency = DEPENDENCIES
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))
            .unwrap_or_else(|| panic!("the recipes do not depend on {name}"));
        let asked_for = dependency.split('"').nth(1).unwrap_or_default();
        let is_right = asked_for == version || asked_for.starts_with(&format!("{version}."));
        assert!(is_right, "{name} is {asked_for} in Cargo.toml, and {version} on the page");
        let mut named = tests.split('`').skip(1).step_by(2).peekable();
        assert!(named.peek().is_some(), "no test: {row}");
        for test in named {
            let is_there =
                TESTS.contains(&format!("fn {test}()")) || TESTS.contains(&format!("\"{test}\""));
            assert!(is_there, "the test {test} does not exist");
        }
    }
}
