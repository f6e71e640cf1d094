//! Callbacks: the timer of each connection is set on accept, reset by each message, and cancelled when the
//! connection ends.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use polyselect::{Event, Interest, Key, Next, Ready, TimerKey, WriteQueue};

use super::{CHUNK, Loop};
use crate::report::Ending;

pub fn serve(mut event_loop: Loop, listeners: Vec<TcpListener>, idle: Duration) -> io::Result<()> {
    for listener in listeners {
        event_loop
            .accept(listener, move |event_loop, stream, _address| add(event_loop, stream, idle))?;
    }
    event_loop.run()
}

fn add(event_loop: &mut Loop, stream: TcpStream, idle: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let timer = Rc::new(Cell::new(None));
    let mut connection =
        Connection { timer: Rc::clone(&timer), idle, queue: WriteQueue::new(), has_ended: false };
    let key =
        event_loop.register(stream, Interest::READABLE, move |event_loop, stream, event| {
            connection.serve(event_loop, stream, event)
        })?;
    event_loop.state.accepted();
    timer.set(Some(set_timer(event_loop, key, idle)));
    Ok(())
}

fn set_timer(event_loop: &mut Loop, key: Key, idle: Duration) -> TimerKey {
    event_loop.call_later(idle, move |event_loop| match event_loop.unregister(key) {
        Ok(()) => event_loop.state.ended(&Ending::Idled),
        // The timer has outlived its connection.
        Err(_) => event_loop.state.failed(),
    })
}

struct Connection {
    timer: Rc<Cell<Option<TimerKey>>>,
    idle: Duration,
    queue: WriteQueue,
    /// The peer sends no more.
    has_ended: bool,
}

impl Connection {
    fn serve(
        &mut self,
        event_loop: &mut Loop,
        stream: &TcpStream,
        event: Event,
    ) -> io::Result<Next> {
        let ending = match self.echo(event_loop, stream, event) {
            Ok(()) if self.has_ended && self.queue.is_empty() => Ending::Closed,
            Err(error) if error.kind() != ErrorKind::WouldBlock => Ending::Failed(error),
            Ok(()) | Err(_) => {
                let mut interest = Interest::empty();
                interest.set(Interest::READABLE, !self.has_ended && self.queue.is_empty());
                interest.set(Interest::WRITABLE, !self.queue.is_empty());
                return Ok(Next::Modify(interest));
            }
        };
        if let Some(timer) = self.timer.take() {
            event_loop.cancel(timer).expect("is set");
        }
        event_loop.state.ended(&ending);
        Ok(Next::Remove)
    }

    fn echo(
        &mut self,
        event_loop: &mut Loop,
        mut stream: &TcpStream,
        event: Event,
    ) -> io::Result<()> {
        if !self.queue.is_empty() {
            self.queue.flush(stream)?;
        }
        if event.ready.contains(Ready::READABLE) && self.queue.is_empty() && !self.has_ended {
            let mut chunk = [0; CHUNK];
            match stream.read(&mut chunk)? {
                0 => self.has_ended = true,
                length => {
                    self.set_timer_anew(event_loop, event.key);
                    if !self.queue.send(stream, &chunk[..length])? {
                        event_loop.state.queued();
                    }
                }
            }
        }
        Ok(())
    }

    fn set_timer_anew(&mut self, event_loop: &mut Loop, key: Key) {
        if let Some(timer) = self.timer.take() {
            event_loop.cancel(timer).expect("is set");
        }
        self.timer.set(Some(set_timer(event_loop, key, self.idle)));
    }
}
