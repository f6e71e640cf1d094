//! Partial reads and writes that are taken for complete ones.

use std::io::{Read, Write};

use polyselect::{EventLoop, Interest, Next, asyncio, asyncio::Async};

use super::{MS, Trial, read_some, write_some};

pub(super) fn ignores_how_much_was_written(trial: &Trial<'_>) {
    const REPLY: [u8; 1_000] = [7; 1_000];

    let (server, client) = trial.pair();
    let is_right = trial.is_right;
    let mut output = Vec::new();
    let mut event_loop = EventLoop::new(0).unwrap();
    event_loop
        .register(server, Interest::READABLE, move |_loop, server, event| {
            if event.is_readable() {
                match read_some(server, &mut [0])? {
                    Some(0) => return Ok(Next::Remove),
                    Some(_) => output.extend(REPLY),
                    None => {}
                }
            }
            if let Some(written) = write_some(server, &output)? {
                output.drain(..if is_right { written } else { output.len() });
            }
            let interest = Interest::READABLE;
            let has_more = !output.is_empty();
            Ok(Next::Modify(if has_more { interest | Interest::WRITABLE } else { interest }))
        })
        .unwrap();
    (&client).write_all(b"?").unwrap();
    event_loop
        .register(client, Interest::READABLE, |event_loop, mut client, _event| {
            event_loop.state += client.read(&mut [0; 64 * 1024]).unwrap_or(0);
            if event_loop.state == 5 * REPLY.len() {
                return Ok(Next::Remove);
            }
            if event_loop.state % REPLY.len() == 0 {
                client.write_all(b"?")?;
            }
            Ok(Next::Keep)
        })
        .unwrap();
    event_loop.run().unwrap();
}

pub(super) fn reads_once_for_an_edge(trial: &Trial<'_>) {
    let (conn, peer) = trial.pair();
    let is_right = trial.is_right;
    let mut event_loop = EventLoop::new(0).unwrap();
    event_loop
        .register(conn, Interest::READABLE.edge(), move |event_loop, conn, _event| {
            loop {
                match read_some(conn, &mut [0; 512])? {
                    Some(0) => return Ok(Next::Remove),
                    Some(read) => event_loop.state += read,
                    None => return Ok(Next::Keep),
                }
                if !is_right {
                    return Ok(Next::Keep);
                }
            }
        })
        .unwrap();
    for number in 1..=10 {
        let mut sender = peer.try_clone().unwrap();
        event_loop.call_later(20 * MS * number, move |_loop| sender.write_all(&[1; 300]).unwrap());
    }
    event_loop.call_later(220 * MS, move |_loop| drop(peer));
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 10 * 300);
}

pub(super) fn takes_a_read_for_a_record(trial: &Trial<'_>) {
    let (conn, mut peer) = trial.pair();
    let conn = Async::new(conn).unwrap();
    let is_right = trial.is_right;
    let work = async {
        let sender = asyncio::spawn(async move {
            for number in 0..10 {
                asyncio::sleep(20 * MS).await;
                peer.write_all(&[number; 8]).unwrap();
            }
        });
        for number in 0..10 {
            let mut record = [0; 8];
            if is_right {
                conn.read_exact(&mut record).await.unwrap();
            } else {
                conn.read(&mut record).await.unwrap();
            }
            assert_eq!(record, [number; 8], "the bytes are not one record");
        }
        sender.await.unwrap();
    };
    EventLoop::new(()).unwrap().block_on(work).unwrap();
}
