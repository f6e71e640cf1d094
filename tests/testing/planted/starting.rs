//! Connections that readiness announced, but that do not exist any more.

use std::os::unix::net::{UnixListener, UnixStream};

use polyselect::accept::Listener;
use polyselect::{Events, Interest, Selector};

use super::Trial;

pub(super) fn expects_a_connection_after_readable(trial: &Trial<'_>) {
    const CLIENTS: usize = 3;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut selector = Selector::new().unwrap();
    selector.register(trial.flaky(listener), Interest::READABLE, ()).unwrap();
    let mut events = Events::with_capacity(8);
    for _ in 0..CLIENTS {
        let _client = UnixStream::connect(&path).unwrap();
        let mut is_accepted = false;
        while !is_accepted {
            selector.select(&mut events, None).unwrap();
            for event in &events {
                let result = selector[event.key].source().accept();
                is_accepted =
                    if trial.is_right { result.is_ok() } else { result.map(|_| true).unwrap() };
            }
        }
    }
}
