//! Programs that end before all data has arrived.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::Write;
use std::pin::pin;

use polyselect::{EventLoop, Interest, Next, asyncio, asyncio::Async};

use super::{MS, Trial, read_some};

pub(super) fn stops_before_the_data_is_read(trial: &Trial<'_>) {
    const RECORDS: usize = 10;

    let (data, mut data_peer) = trial.pair();
    let (control, mut control_peer) = trial.pair();
    let (data, control) = (Async::new(data).unwrap(), Async::new(control).unwrap());
    let is_right = trial.is_right;
    let server = async {
        let client = asyncio::spawn(async move {
            for _ in 0..RECORDS {
                data_peer.write_all(b"record\n").unwrap();
                asyncio::sleep(MS).await;
            }
            control_peer.write_all(b"stop").unwrap();
        });
        let count = Cell::new(0);
        let mut reading = pin!(async {
            let mut buffer = [0; 64];
            loop {
                match data.read(&mut buffer).await.unwrap() {
                    0 => break,
                    read => count.set(count.get() + read),
                }
            }
        });
        let mut stop = pin!(async { control.read_exact(&mut [0; 4]).await.unwrap() });
        let mut has_ended = false;
        poll_fn(|context| {
            has_ended = has_ended || reading.as_mut().poll(context).is_ready();
            stop.as_mut().poll(context)
        })
        .await;
        if is_right && !has_ended {
            reading.await; // The client closes the data channel after its last record.
        }
        client.await.unwrap();
        assert_eq!(count.get(), RECORDS * 7, "bytes of {RECORDS} records");
    };
    EventLoop::new(()).unwrap().block_on(server).unwrap();
}

pub(super) fn takes_a_closed_peer_for_the_end_of_data(trial: &Trial<'_>) {
    let (conn, mut peer) = trial.pair();
    let is_right = trial.is_right;
    let mut event_loop = EventLoop::new(0).unwrap();
    event_loop
        .register(conn, Interest::READABLE, move |event_loop, conn, event| {
            if event.is_read_closed() && !is_right {
                return Ok(Next::Remove);
            }
            match read_some(conn, &mut [0; 64])? {
                Some(0) => return Ok(Next::Remove),
                read => event_loop.state += read.unwrap_or(0),
            }
            Ok(Next::Keep)
        })
        .unwrap();
    event_loop.call_later(10 * MS, move |event_loop| {
        peer.write_all(b"twenty bytes of data").unwrap();
        event_loop.call_later(5 * MS, move |_loop| drop(peer));
    });
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 20, "of 20 bytes");
}
