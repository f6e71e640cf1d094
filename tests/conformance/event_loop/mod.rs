//! The event loop, on every backend.

suites! {
    mod accepting;
    mod builder;
    mod calls;
    #[cfg(unix)]
    mod children;
    #[cfg(windows)]
    mod children_on_windows;
    mod errors;
    mod interests;
    mod local;
    #[cfg(unix)]
    mod nesting;
    mod reentrancy;
    mod replaced;
    #[cfg(unix)]
    mod signals;
    mod sources;
    mod timers;
    mod turns;
}

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::process::Child;

use polyselect::{Backend, EventLoop, Interest, Next, WriteQueue};

pub fn open<T: 'static>(backend: Backend, state: T) -> EventLoop<T> {
    EventLoop::with_backend(backend, state).expect("is available")
}

/// Echoes everything that a client sends, in parts, and stops when all of it is sent; returns the
/// address.
pub fn echo_until_the_end<const PART: usize>(event_loop: &mut EventLoop) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
    let address = listener.local_addr().expect("bound");
    let accepting = event_loop.accept(listener, |event_loop, conn, _addr| {
        let mut out = WriteQueue::new();
        event_loop.register(conn, Interest::READABLE, move |event_loop, mut conn, _event| {
            let mut buf = [0; PART];
            if out.is_empty() {
                match conn.read(&mut buf)? {
                    0 => {
                        event_loop.stop();
                        return Ok(Next::Remove);
                    }
                    n => out.push(&buf[..n]),
                }
            }
            let all_sent = out.flush(conn)?;
            Ok(Next::Modify(if all_sent { Interest::READABLE } else { Interest::WRITABLE }))
        })?;
        Ok(())
    });
    accepting.expect("is a listener");
    address
}

/// Kills the child that is `running`, and takes back the one that is `ending` with success.
fn kill_and_take_back(backend: Backend, running: Child, ending: Child) {
    let mut event_loop = open(backend, 0);
    let killed = event_loop
        .watch_child(running, |event_loop, status| {
            assert!(!status.unwrap().success());
            event_loop.state += 1;
        })
        .unwrap();
    let taken = event_loop.watch_child(ending, |_, _| unreachable!()).unwrap();
    event_loop.child_mut(killed).expect("runs").kill().unwrap();
    let mut taken = event_loop.take_child(taken).unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 1);
    assert!(event_loop.child_mut(killed).is_none());
    let error = event_loop.take_child(killed).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert!(taken.wait().unwrap().success());
}
