//! Programs that expect one order of events, or serve in an unfair one.

use std::io::Write;

use polyselect::{EventLoop, Interest, Next};

use super::{MS, Trial, read_some};

#[derive(Default)]
struct Scaler {
    factor: Option<usize>,
    /// Requests that arrived before the configuration.
    early: usize,
    answered: usize,
}

pub(super) fn expects_the_configuration_first(trial: &Trial<'_>) {
    let (configuration, mut operator) = trial.pair();
    let (requests, mut client) = trial.pair();
    let is_right = trial.is_right;
    let mut event_loop = EventLoop::new(Scaler::default()).unwrap();
    event_loop
        .register(configuration, Interest::READABLE, |event_loop, source, _event| {
            let mut factor = [0];
            if read_some(source, &mut factor)?.is_none() {
                return Ok(Next::Keep);
            }
            event_loop.state.factor = Some(usize::from(factor[0]));
            event_loop.state.answered += std::mem::take(&mut event_loop.state.early);
            Ok(Next::Remove)
        })
        .unwrap();
    event_loop
        .register(requests, Interest::READABLE, move |event_loop, source, _event| {
            if read_some(source, &mut [0])?.is_none() {
                return Ok(Next::Keep);
            }
            if is_right && event_loop.state.factor.is_none() {
                event_loop.state.early += 1;
                return Ok(Next::Remove);
            }
            event_loop.state.factor.expect("configured");
            event_loop.state.answered += 1;
            Ok(Next::Remove)
        })
        .unwrap();
    event_loop.call_later(10 * MS, move |_loop| operator.write_all(&[3]).unwrap());
    event_loop.call_later(15 * MS, move |_loop| client.write_all(b"?").unwrap());
    event_loop.run().unwrap();
    assert_eq!(event_loop.state.answered, 1);
}

#[derive(Default)]
struct Queues {
    waiting: [usize; 2],
    served: usize,
    /// How often a client was served while the other waited.
    passed_over: [usize; 2],
    last: usize,
}

pub(super) fn serves_the_first_client_first(trial: &Trial<'_>) {
    const REQUESTS: [(u32, u32); 2] = [(50, 2_000), (10, 10_300)];

    let is_right = trial.is_right;
    let mut event_loop = EventLoop::new(Queues::default()).unwrap();
    for (number, (count, period)) in REQUESTS.into_iter().enumerate() {
        let (conn, mut peer) = trial.pair();
        event_loop
            .register(conn, Interest::READABLE, move |event_loop, conn, _event| {
                match read_some(conn, &mut [0; 64])? {
                    Some(0) => return Ok(Next::Remove),
                    read => event_loop.state.waiting[number] += read.unwrap_or(0),
                }
                Ok(Next::Keep)
            })
            .unwrap();
        let mut left = count;
        event_loop.call_every(MS * period / 1_000, move |event_loop, timer| {
            peer.write_all(b"?").unwrap();
            left -= 1;
            if left == 0 {
                event_loop.cancel(timer).unwrap();
            }
        });
    }
    event_loop.call_every(MS, move |event_loop, timer| {
        let queues = &mut event_loop.state;
        let first = if is_right { 1 - queues.last } else { 0 };
        let Some(next) = [first, 1 - first].into_iter().find(|&it| queues.waiting[it] > 0) else {
            return;
        };
        let other = 1 - next;
        queues.waiting[next] -= 1;
        queues.passed_over[next] = 0;
        queues.passed_over[other] += usize::from(queues.waiting[other] > 0);
        assert!(queues.passed_over[other] <= 2, "client {other} was passed over");
        queues.last = next;
        queues.served += 1;
        if queues.served == 60 {
            event_loop.cancel(timer).unwrap();
        }
    });
    event_loop.run().unwrap();
}
