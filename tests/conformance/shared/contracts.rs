//! Guarantees to callers of `SharedSelector`.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use polyselect::{Backend, Events, Interest, Key, Ready, SharedSelector, Source, Watch};

use super::{beside_a_wait, beside_a_wait_of, open, select};
use crate::support::{A_WHILE, R, SURELY, W, drain, pair};

cases! {
    a_backend_that_cannot_be_shared_is_refused_with_the_reason,
    a_second_wait_at_the_same_time_is_an_error needs shared,
    threads_take_turns_in_waiting needs shared,
    errors_of_changes_come_back_to_the_caller needs shared,
    a_closure_that_calls_the_selector_panics_with_the_reason needs shared,
    a_panic_of_a_closure_leaves_the_selector_usable needs shared,
    code_of_the_user_may_call_the_selector needs shared,
    a_logger_may_call_the_selector needs shared,
    sources_are_dropped_with_the_last_handle needs shared,
    handles_may_be_sent_and_shared_if_their_sources_may_be_sent needs shared,
}

fn a_backend_that_cannot_be_shared_is_refused_with_the_reason(backend: Backend) {
    let others = Backend::available().filter(|other| other.capabilities().shared);
    for other in others {
        let result = SharedSelector::<TcpStream>::with_backend(backend).map(drop);
        let selector: SharedSelector<TcpStream> = open(other);
        let moved = selector.rebuild_with(backend);
        if backend.capabilities().shared {
            result.and(moved).unwrap();
            continue;
        }
        for error in [result.unwrap_err(), moved.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let message = error.to_string();
            assert!(message.contains(&format!("{backend} does not support SharedSelector")));
            assert!(message.contains("thread") && message.contains(other.name()), "{message}");
        }
        assert_eq!(selector.backend(), other);
    }
}

fn a_second_wait_at_the_same_time_is_an_error(backend: Backend) {
    let selector: SharedSelector<TcpStream> = open(backend);
    beside_a_wait_of(&selector, SURELY, || {
        for timeout in [None, Some(Duration::ZERO), Some(SURELY)] {
            let mut events = Events::with_capacity(8);
            let error = selector.select(&mut events, timeout).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResourceBusy);
            assert!(error.to_string().contains("another thread is inside `select`"), "{error}");
        }
        selector.waker().wake().unwrap();
    });
    assert_eq!(select(&selector, Duration::ZERO), []);
}

fn threads_take_turns_in_waiting(backend: Backend) {
    const ROUNDS: usize = 200;
    let selector = open(backend);
    let (left, right) = pair();
    let (left, right) = (Arc::new(left), Arc::new(right));
    let key = selector.register(Arc::clone(&left), R, ()).unwrap();
    let taken = Mutex::new(0);
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        for _ in 0..3 {
            let (selector, taken, left, sender) = (&selector, &taken, &left, sender.clone());
            scope.spawn(move || {
                let mut events = Events::with_capacity(8);
                loop {
                    let result = selector.select(&mut events, None);
                    let mut taken = taken.lock().unwrap();
                    match result {
                        Ok(count) if count > 0 && drain(&**left) == 1 => {
                            *taken += 1;
                            sender.send(()).unwrap();
                        }
                        Ok(_) => {}
                        Err(error) => assert_eq!(error.kind(), ErrorKind::ResourceBusy),
                    }
                    if *taken == ROUNDS {
                        selector.waker().wake().unwrap();
                        return;
                    }
                    drop(taken);
                    thread::yield_now();
                }
            });
        }
        for _ in 0..ROUNDS {
            (&*right).write_all(b"!").unwrap();
            receiver.recv_timeout(SURELY).expect("is read by one of them");
        }
    });
    selector.unregister(key).unwrap();
}

fn errors_of_changes_come_back_to_the_caller(backend: Backend) {
    let (left, right) = pair();
    let selector: SharedSelector<&TcpStream, &str> = open(backend);
    let key = selector.register(&left, R, "first").unwrap();
    let stale = selector.register(&right, R, "gone").unwrap();
    selector.unregister(stale).unwrap();
    beside_a_wait_of(&selector, SURELY, || {
        let (error, source, data) = selector.register(&left, R, "again").unwrap_err().into_parts();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(std::ptr::eq(source, &left) && data == "again");
        if !backend.capabilities().exclusive {
            let error = selector.set_watch(key, R.exclusive()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let refused = selector.register(&right, R.exclusive(), "no").unwrap_err();
            assert_eq!(refused.error().kind(), ErrorKind::Unsupported);
        }
        let errors = [
            selector.modify(stale, W).unwrap_err(),
            selector.set_watch(stale, W).unwrap_err(),
            selector.unregister(stale).map(drop).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
        assert_eq!(selector.with(stale, |_, _| ()), None);
        selector.waker().wake().unwrap();
    });
    assert_eq!((selector.len(), selector.with(key, |_, data| *data)), (1, Some("first")));
}

fn a_closure_that_calls_the_selector_panics_with_the_reason(backend: Backend) {
    type Call = fn(&SharedSelector<TcpStream, TcpStream>, Key);
    let calls: [Call; 9] = [
        |selector, _| drop(selector.select(&mut Events::with_capacity(8), None)),
        |selector, _| drop(selector.select(&mut Events::with_capacity(8), Duration::ZERO)),
        |selector, key| drop(selector.modify(key, W)),
        |selector, key| drop(selector.set_watch(key, W)),
        |selector, key| drop(selector.unregister(key)),
        |selector, key| assert!(selector.with(key, |_, _| ()).is_none()),
        |selector, _| drop(selector.register(pair().0, R, pair().1)),
        |selector, _| drop(selector.rebuild_with(selector.backend())),
        |selector, _| assert!(!selector.is_empty()),
    ];
    let selector = open(backend);
    let (left, right) = pair();
    let key = selector.register(left, R, right).unwrap();
    // The second wait needs no lock, if the backend supports that.
    select(&selector, Duration::ZERO);
    for call in calls {
        let inside = || selector.with(key, |_, _| call(&selector, key));
        let panic = catch_unwind(AssertUnwindSafe(inside)).unwrap_err();
        let message = panic.downcast_ref::<&str>().expect("a message");
        assert!(message.contains("`SharedSelector::with` calls the selector"), "{message}");
        // Nothing is left locked, and another selector may be called.
        let other: SharedSelector<TcpStream> = open(backend);
        let waker = selector.with(key, |_, _| {
            assert!(other.is_empty());
            (selector.waker(), selector.backend())
        });
        assert_eq!(waker.unwrap().1, backend);
        selector.with(key, |_, peer| peer.write_all(b"!")).unwrap().unwrap();
        assert_eq!(select(&selector, SURELY)[0].key, key);
        selector.with(key, |source, _| drain(source)).unwrap();
        select(&selector, Duration::ZERO);
    }
}

fn a_panic_of_a_closure_leaves_the_selector_usable(backend: Backend) {
    let selector = open(backend);
    let (left, mut right) = pair();
    let key = selector.register(left, R, 1).unwrap();
    let events = beside_a_wait(&selector, || {
        let panics = || {
            selector.with(key, |_, data| {
                *data = 2;
                panic!("as the test wants it");
            })
        };
        catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
        right.write_all(b"!").unwrap();
    });
    assert_eq!((events[0].key, selector.with(key, |_, data| *data)), (key, Some(2)));
}

/// A source, a watch and data whose code calls the selector given to them.
struct Caller(TcpStream, SharedSelector<Caller, Caller>);

#[cfg(unix)]
impl std::os::fd::AsFd for Caller {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        let _ = self.1.len();
        self.0.as_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for Caller {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        let _ = self.1.len();
        self.0.as_socket()
    }
}

impl From<&Caller> for Watch {
    fn from(caller: &Caller) -> Self {
        let _ = caller.1.len();
        R.into()
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.1.len();
    }
}

fn code_of_the_user_may_call_the_selector(backend: Backend) {
    let selector = open(backend);
    let (left, right) = pair();
    let [watch, source, data, again] =
        [pair().0, left, right, pair().0].map(|stream| Caller(stream, selector.clone()));
    let key = selector.register(source, &watch, data).unwrap();
    assert_eq!(selector.with(key, |source, _| is_source(source)), Some(()));
    beside_a_wait_of(&selector, SURELY, || {
        let (error, source, data) = selector
            .register(again, Interest::PRIORITY.exclusive(), watch)
            .unwrap_err()
            .into_parts();
        assert!([ErrorKind::Unsupported, ErrorKind::InvalidInput].contains(&error.kind()));
        drop((source, data));
        drop(selector.unregister(key).unwrap());
        selector.waker().wake().unwrap();
    });
    assert!(selector.is_empty());
}

fn is_source(_: &impl Source) {}

/// Calls a selector for each message.
struct Calling;

static LOGGED: RwLock<Option<SharedSelector<Arc<TcpStream>>>> = RwLock::new(None);
static MESSAGES: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Log for Calling {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        LOGGED.read().unwrap().as_ref().map(SharedSelector::len);
        true
    }

    fn log(&self, record: &Record<'_>) {
        LOGGED.read().unwrap().as_ref().map(SharedSelector::len);
        MESSAGES.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

fn a_logger_may_call_the_selector(backend: Backend) {
    let selector: SharedSelector<Arc<TcpStream>> = open(backend);
    *LOGGED.write().unwrap() = Some(selector.clone());
    log::set_logger(&Calling).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let (left, mut right) = pair();
    let left = Arc::new(left);
    let key = selector.register(Arc::clone(&left), R, ()).unwrap();
    let events = beside_a_wait(&selector, || {
        selector.modify(key, W).unwrap();
        selector.modify(key, R).unwrap();
        selector.rebuild_with(backend).unwrap();
        right.write_all(b"!").unwrap();
    });
    assert!(events.iter().any(|event| event.key == key));
    drop(selector.unregister(key).unwrap());
    select(&selector, Duration::ZERO);
    log::set_max_level(LevelFilter::Off);
    *LOGGED.write().unwrap() = None;
    let messages = MESSAGES.lock().unwrap();
    for expected in ["registered", "modified", "rebuilt", "1 events", "unregistered", "0 events"] {
        assert!(messages.iter().any(|message| message.contains(expected)), "{messages:?}");
    }
}

fn sources_are_dropped_with_the_last_handle(backend: Backend) {
    let selector = open(backend);
    let (left, _right) = pair();
    let (left, data) = (Arc::new(left), Arc::new(()));
    selector.register(Arc::clone(&left), R, Arc::clone(&data)).unwrap();
    let other = selector.clone();
    drop(selector);
    assert_eq!((Arc::strong_count(&left), other.len()), (2, 1));
    let thread = thread::spawn(move || select(&other, A_WHILE));
    assert_eq!(thread.join().unwrap(), []);
    assert_eq!((Arc::strong_count(&left), Arc::strong_count(&data)), (1, 1));
}

fn handles_may_be_sent_and_shared_if_their_sources_may_be_sent(backend: Backend) {
    fn check<T: Clone + Send + Sync>(_: &T) {}

    // `Cell` is not `Sync`: only one thread at a time sees the data.
    let selector: SharedSelector<TcpStream, std::cell::Cell<u8>> = open(backend);
    check(&selector);
    assert_eq!(Ready::from(R), Ready::READABLE);
}
