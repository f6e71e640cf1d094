//! Timers that race with the events that make them unnecessary.

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;

use polyselect::{EventLoop, Interest, Key, Next, TimerKey};

use super::{MS, Trial, read_some};

pub(super) fn cancels_a_timer_in_a_call(trial: &Trial<'_>) {
    let mut event_loop = EventLoop::new(()).unwrap();
    let is_right = trial.is_right;
    for number in 0..20 {
        let (conn, mut peer) = trial.pair();
        event_loop.call_later(200 * MS * number, move |event_loop| {
            let has_answer = Rc::new(Cell::new(false));
            let seen = Rc::clone(&has_answer);
            let timer = Rc::new(Cell::new(None));
            let of_callback = Rc::clone(&timer);
            let key = event_loop
                .register(conn, Interest::READABLE, move |event_loop, conn, _event| {
                    if read_some(conn, &mut [0; 16])?.is_none() {
                        return Ok(Next::Keep);
                    }
                    has_answer.set(true);
                    let timer: TimerKey = of_callback.get().unwrap();
                    if is_right {
                        event_loop.cancel(timer)?;
                    } else {
                        event_loop.call_soon(move |event_loop| event_loop.cancel(timer).unwrap());
                    }
                    Ok(Next::Remove)
                })
                .unwrap();
            timer.set(Some(event_loop.call_later(100 * MS, move |event_loop| {
                assert!(!seen.get(), "timed out after the answer");
                event_loop.unregister(key).unwrap();
            })));
            event_loop.call_later(95 * MS, move |_loop| _ = peer.write_all(b"answer"));
        });
    }
    event_loop.run().unwrap();
}

#[derive(Default)]
struct Server {
    conn: Option<Key>,
    /// The number of requests that have been read and not answered.
    in_hand: usize,
    idle: Option<TimerKey>,
    is_right: bool,
}

fn restart(event_loop: &mut EventLoop<Server>) {
    if let Some(timer) = event_loop.state.idle.take() {
        event_loop.cancel(timer).unwrap();
    }
    let timer = event_loop.call_later(25 * MS, |event_loop| {
        let Server { in_hand, is_right, .. } = event_loop.state;
        event_loop.state.idle = None;
        if is_right && in_hand > 0 {
            return restart(event_loop);
        }
        assert_eq!(in_hand, 0, "closed with a request in hand");
        let conn = event_loop.state.conn.take().unwrap();
        event_loop.unregister(conn).unwrap();
    });
    event_loop.state.idle = Some(timer);
}

pub(super) fn closes_with_a_request_in_hand(trial: &Trial<'_>) {
    let (conn, peer) = trial.pair();
    let peer = Rc::new(peer);
    let state = Server { is_right: trial.is_right, ..Server::default() };
    let mut event_loop = EventLoop::new(state).unwrap();
    let key = event_loop
        .register(conn, Interest::READABLE, |event_loop, conn, _event| {
            if read_some(conn, &mut [0; 16])?.is_none() {
                return Ok(Next::Keep);
            }
            event_loop.state.in_hand += 1;
            event_loop.call_soon(|event_loop| {
                event_loop.state.in_hand -= 1; // The answer is sent here.
                restart(event_loop);
            });
            Ok(Next::Keep)
        })
        .unwrap();
    event_loop.state.conn = Some(key);
    restart(&mut event_loop);
    let (mut sent, client) = (0, Rc::clone(&peer));
    event_loop.call_every(20 * MS, move |event_loop, timer| {
        let mut client = &*client;
        // It fails if the server has closed the connection, which is allowed.
        client.write_all(b"?").ok();
        sent += 1;
        if sent == 20 {
            event_loop.cancel(timer).unwrap();
        }
    });
    event_loop.run().unwrap();
}
