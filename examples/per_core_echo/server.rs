//! The callbacks of one loop, which shares nothing with the others.

use std::collections::HashSet;
use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use polyselect::{Backend, Event, EventLoop, Interest, Key, Next, WriteQueue};

use crate::common;

pub(crate) type Core = EventLoop<State>;

pub(crate) struct State {
    name: String,
    pub(crate) listener: Option<Key>,
    connections: HashSet<Key>,
    is_stopping: bool,
}

/// How long a loop that is stopping waits for peers that do not read their answers.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn open(name: &str, backend: Option<Backend>) -> io::Result<Core> {
    let (listener, connections) = Default::default();
    let state = State { name: name.to_owned(), listener, connections, is_stopping: false };
    let mut core = match backend {
        Some(backend) => Core::with_backend(backend, state)?,
        None => Core::new(state)?,
    };
    core.on_error(|core, key, error| {
        log::info!("{}: {error}", core.state.name);
        leave(core, key);
    });
    Ok(core)
}

/// Registers a connection with this loop.
pub(crate) fn welcome(core: &mut Core, conn: TcpStream) -> io::Result<()> {
    conn.set_nodelay(true)?;
    let mut outgoing = WriteQueue::new();
    let key = core.register(conn, Interest::READABLE, move |core, conn: &TcpStream, event| {
        echo(core, conn, event, &mut outgoing)
    })?;
    core.state.connections.insert(key);
    log::info!("{} serves a connection", core.state.name);
    Ok(())
}

fn echo(
    core: &mut Core,
    mut conn: &TcpStream,
    event: Event,
    outgoing: &mut WriteQueue,
) -> io::Result<Next> {
    let mut has_ended = false;
    if event.is_readable() {
        let mut bytes = [0; 16384];
        match conn.read(&mut bytes) {
            Ok(0) => has_ended = true,
            Ok(count) => outgoing.push(&bytes[..count]),
            Err(error) if common::is_not_now(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let all_sent = outgoing.flush(conn)?;
    Ok(match (all_sent, has_ended) {
        (true, true) => {
            leave(core, event.key);
            Next::Remove
        }
        (true, false) => Next::Modify(Interest::READABLE),
        // The end of the stream is read again once everything is sent.
        (false, true) => Next::Modify(Interest::WRITABLE),
        // A peer that does not read its answers is not read from.
        (false, false) if outgoing.is_high() => Next::Modify(Interest::WRITABLE),
        (false, false) => Next::Modify(Interest::READABLE | Interest::WRITABLE),
    })
}

fn leave(core: &mut Core, key: Key) {
    core.state.connections.remove(&key);
    if core.state.is_stopping && core.state.connections.is_empty() {
        core.stop();
    }
}

/// Stops accepting, and ends the loop when everything that has arrived is answered.
pub(crate) fn stop(core: &mut Core) {
    core.state.is_stopping = true;
    if let Some(listener) = core.state.listener.take() {
        core.unregister(listener).expect("it was registered until now");
    }
    for &key in &core.state.connections {
        // Data that has arrived can still be read, and then the end of the stream. `shutdown` fails
        // if the peer has reset the connection, which causes an event by itself.
        if let Some(conn) = core.get::<TcpStream>(key) {
            let _ = conn.shutdown(Shutdown::Read);
        }
    }
    core.call_later(GRACE, EventLoop::stop);
    if core.state.connections.is_empty() {
        core.stop();
    }
}
