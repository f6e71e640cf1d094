//! A loop that is dropped with registrations of every kind.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use polyselect::{Backend, EventLoop, Next, Remote, signal};

use crate::event_loop::open as open_loop;
use crate::support::*;

cases! {
    a_dropped_loop_drops_everything_it_holds,
    a_loop_dropped_after_a_panic_drops_everything_it_holds,
    a_loop_may_be_dropped_in_its_own_callback,
    a_destructor_may_use_a_remote_while_the_loop_is_dropped,
}

#[cfg(unix)]
const SIGNAL: i32 = signal::SIGUSR1;
#[cfg(windows)]
const SIGNAL: i32 = signal::SIGTERM;

type Share = Rc<()>;
type Loop = EventLoop<Share>;

/// A source, a listener, timers, calls and a signal; each callback holds a clone of `alive`.
fn with_everything(backend: Backend) -> (Loop, Vec<std::net::TcpStream>) {
    let mut event_loop = open_loop(backend, Rc::new(()));
    let share = || Rc::clone(&event_loop.state);
    let shares = [share(), share(), share(), share(), share(), share()];
    let [source, listener, once, every, call, signal] = shares;
    let (left, right) = pair();
    event_loop
        .register(left, R | W, move |_, _, _| {
            let _ = &source;
            Ok(Next::Keep)
        })
        .unwrap();
    event_loop
        .accept(TcpListener::bind(("127.0.0.1", 0)).unwrap(), move |_, _, _| {
            let _ = &listener;
            Ok(())
        })
        .unwrap();
    event_loop.call_later(SURELY, move |_| drop(once));
    event_loop.call_every(SURELY, move |_, _| drop(Rc::clone(&every)));
    event_loop.call_soon(move |_| drop(call));
    event_loop.on_signal(SIGNAL, move |_| drop(Rc::clone(&signal))).unwrap();
    (event_loop, vec![right])
}

fn a_dropped_loop_drops_everything_it_holds(backend: Backend) {
    let (mut event_loop, _peers) = with_everything(backend);
    let state = Rc::clone(&event_loop.state);
    let remote = event_loop.remote().unwrap();
    remote.call(|_| unreachable!()).unwrap();
    let mut child = waiting_child();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    #[cfg(unix)]
    let id = rustix::process::Pid::from_child(&child);
    event_loop.watch_child(child, |_, _| unreachable!()).unwrap();
    drop(event_loop);

    assert_eq!(Rc::strong_count(&state), 1, "something is left");
    assert_eq!(remote.call(|_| ()).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    // The signal has no handler and no effect.
    raise();
    // The child lives on.
    input.write_all(b"\n").unwrap();
    let mut last_words = String::new();
    output.read_to_string(&mut last_words).unwrap();
    assert_eq!(last_words.trim(), "ended");
    // Its parent has to reap it.
    #[cfg(unix)]
    {
        use rustix::process::{WaitOptions, waitpid};

        let (_, status) = waitpid(Some(id), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(4));
    }
}

/// A child that waits for a line, and ends with a word and the status 4.
fn waiting_child() -> Child {
    let mut command = if cfg!(windows) { Command::new("cmd") } else { Command::new("sh") };
    if cfg!(windows) {
        command.args(["/c", "set /p line= & echo ended & exit 4"]);
    } else {
        command.args(["-c", "read line; echo ended; exit 4"]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Sends the signal of the loop to this process.
fn raise() {
    // Wine's C runtime calls an address that is not a function if a handler was replaced.
    #[cfg(unix)]
    {
        use rustix::process::{Signal, getpid, kill_process};

        kill_process(getpid(), Signal::USR1).unwrap();
    }
}

fn a_loop_dropped_after_a_panic_drops_everything_it_holds(backend: Backend) {
    let (mut event_loop, mut peers) = with_everything(backend);
    for _ in 0..5 {
        let (left, right) = pair();
        event_loop.register(left, W, |_, _, _| resume_unwind(Box::new("on purpose"))).unwrap();
        peers.push(right);
    }
    let state = Rc::clone(&event_loop.state);
    raise();
    let turn = catch_unwind(AssertUnwindSafe(|| event_loop.turn(SURELY)));
    assert!(turn.is_err());
    drop(event_loop);
    assert_eq!(Rc::strong_count(&state), 1, "something is left");
}

/// A callback can replace its own loop, which drops it.
fn a_loop_may_be_dropped_in_its_own_callback(backend: Backend) {
    let (mut event_loop, _peers) = with_everything(backend);
    let state = Rc::clone(&event_loop.state);
    let seen = Rc::new(RefCell::new(0));
    let count = Rc::clone(&seen);
    let (left, _right) = pair();
    event_loop
        .register(left, W, move |event_loop: &mut Loop, left, _| {
            *count.borrow_mut() += 1;
            *event_loop = open_loop(backend, Rc::new(()));
            // The borrowed arguments are still alive.
            assert!(left.peer_addr().is_ok());
            Ok(Next::Keep)
        })
        .unwrap();
    event_loop.turn(SURELY).unwrap();
    assert_eq!((Rc::strong_count(&state), *seen.borrow()), (1, 1));
    event_loop.turn(Duration::ZERO).unwrap();
    assert!(event_loop.is_empty());
}

fn a_destructor_may_use_a_remote_while_the_loop_is_dropped(backend: Backend) {
    struct CallsWhenDropped(Remote<Share>);

    impl Drop for CallsWhenDropped {
        fn drop(&mut self) {
            // Before or after the loop's end of the channel is gone; never a panic or a deadlock.
            let _ = self.0.call(|_| ());
        }
    }

    let (mut event_loop, _peers) = with_everything(backend);
    for _ in 0..3 {
        let calls = CallsWhenDropped(event_loop.remote().unwrap());
        event_loop.call_later(SURELY, move |_| drop(calls));
        let calls = CallsWhenDropped(event_loop.remote().unwrap());
        calls.0.clone().call(move |_| drop(calls)).unwrap();
        let calls = CallsWhenDropped(event_loop.remote().unwrap());
        let (left, _right) = pair();
        event_loop
            .register(left, R, move |_, _, _| {
                let _ = &calls;
                Ok(Next::Keep)
            })
            .unwrap();
    }
    let state = Rc::clone(&event_loop.state);
    drop(event_loop);
    assert_eq!(Rc::strong_count(&state), 1, "something is left");
}
