//! Waits that end for another reason than the expected one.

use std::io::Write;
use std::time::Duration;

use polyselect::testing::Link;
use polyselect::{EventLoop, Events, Interest, Next, Selector};

use super::{MS, Trial, read_some};

pub(super) fn leaves_a_oneshot_disarmed(trial: &Trial<'_>) {
    let (conn, mut peer) = trial.pair();
    let is_right = trial.is_right;
    let mut event_loop = EventLoop::new(0).unwrap();
    event_loop
        .register(conn, Interest::READABLE.oneshot(), move |event_loop, conn, _event| {
            let rearm = Next::Modify(Interest::READABLE);
            match read_some(conn, &mut [0; 64])? {
                Some(0) => Ok(Next::Remove),
                Some(read) => {
                    event_loop.state += read;
                    Ok(rearm)
                }
                None if is_right => Ok(rearm),
                None => Ok(Next::Keep),
            }
        })
        .unwrap();
    for number in 1..=20 {
        let mut sender = peer.try_clone().unwrap();
        event_loop.call_later(10 * MS * number, move |_| sender.write_all(b"record\n").unwrap());
    }
    peer.flush().unwrap();
    drop(peer);
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 20 * 7);
}

pub(super) fn takes_a_wake_for_the_timeout(trial: &Trial<'_>) {
    const LIMIT: Duration = Duration::from_secs(5);

    let link = Link::new().latency(Duration::from_secs(1));
    let (mut client, server, _wire) = trial.lab.stream_pair(link).unwrap();
    let mut selector = Selector::new().unwrap();
    let _waker = selector.waker().unwrap(); // Another thread may stop the program.
    let server = selector.register(trial.flaky(server), Interest::READABLE, ()).unwrap();
    let mut events = Events::with_capacity(8);
    client.write_all(b"request").unwrap();
    let deadline = selector.now() + LIMIT;
    let mut received = 0;
    while received < 7 {
        let left = deadline.saturating_duration_since(selector.now());
        let ready = selector.select(&mut events, left).unwrap();
        let is_over = if trial.is_right { selector.now() >= deadline } else { ready == 0 };
        assert!(!is_over, "timed out with {received} of 7 bytes");
        for event in &events {
            received += read_some(selector[event.key].source(), &mut [0; 64]).unwrap().unwrap_or(0);
        }
    }
    selector.unregister(server).unwrap();
}
