//! The speed of a lab: printed, and asserted only as far as a busy machine cannot matter.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use polyselect::testing::{Disorder, Faults, Lab};
use polyselect::{EventLoop, Interest, Key, Next, TimerKey, asyncio, asyncio::Async};

use crate::sockets::{Stream, stream_pair};

const MINUTE: Duration = Duration::from_secs(60);

struct Connection {
    key: Key,
    idle: TimerKey,
    peer: Stream,
}

fn watch_idle(event_loop: &mut EventLoop<Vec<Connection>>, number: usize) -> TimerKey {
    event_loop.call_later(2 * MINUTE, move |_loop| panic!("connection {number} was idle"))
}

/// An hour with 1,000 connections: each has an idle limit of two minutes, and gets a byte every minute.
fn hour_of_idle_connections(lab: &Lab) -> usize {
    const COUNT: usize = 1_000;

    let mut event_loop = EventLoop::in_lab(lab, Vec::<Connection>::new()).unwrap();
    for number in 0..COUNT {
        let (conn, peer) = stream_pair().unwrap();
        let key = event_loop
            .register(conn, Interest::READABLE, move |event_loop, mut conn, _event| {
                conn.read_exact(&mut [0])?;
                let idle = event_loop.state[number].idle;
                event_loop.cancel(idle)?;
                event_loop.state[number].idle = watch_idle(event_loop, number);
                Ok(Next::Keep)
            })
            .unwrap();
        let idle = watch_idle(&mut event_loop, number);
        event_loop.state.push(Connection { key, idle, peer });
        let phase = MINUTE * number as u32 / COUNT as u32;
        event_loop.call_later(phase, move |event_loop| {
            event_loop.call_every(MINUTE, move |event_loop, _timer| {
                event_loop.state[number].peer.write_all(b"x").unwrap();
            });
        });
    }
    let (end, mut events) = (event_loop.now() + 60 * MINUTE, 0);
    while event_loop.now() < end {
        events += event_loop.turn(end - event_loop.now()).unwrap().events;
    }
    for Connection { key, .. } in std::mem::take(&mut event_loop.state) {
        event_loop.unregister(key).unwrap();
    }
    events as usize
}

#[test]
fn an_hour_of_a_thousand_idle_connections_takes_little_time() {
    // The limit on descriptors may be too low.
    #[cfg(unix)]
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(windows)]
    let limit = None::<u64>;
    if limit.is_some_and(|limit| limit < 2_500) {
        println!("not run: at most {limit:?} descriptors");
        return;
    }
    let (lab, start) = (Lab::new(1, Disorder::none()), Instant::now());
    let events = hour_of_idle_connections(&lab);
    println!("an hour with 1,000 connections, {events} events: {:?}", start.elapsed());
    assert!(events >= 58_000 && lab.elapsed() == 60 * MINUTE, "{events} {:?}", lab.elapsed());
}

const CLIENTS: usize = 100;
const MESSAGES: usize = 10;

/// An echo server with callbacks and its clients, which send a message when the last one has been
/// echoed.
fn echo_of_callbacks(lab: &Lab, faults: Faults) {
    let mut event_loop = EventLoop::in_lab(lab, ()).unwrap();
    for _ in 0..CLIENTS {
        let (server, client) = stream_pair().unwrap();
        server.set_nonblocking(true).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut output = Vec::new();
        event_loop
            .register(lab.flaky(server, faults), Interest::READABLE, move |_, mut conn, event| {
                let mut buffer = [0; 512];
                if event.is_readable() {
                    match conn.read(&mut buffer) {
                        Ok(0) => return Ok(Next::Remove),
                        Ok(read) => output.extend(&buffer[..read]),
                        Err(_) => {}
                    }
                }
                if !output.is_empty()
                    && let Ok(written) = conn.write(&output)
                {
                    output.drain(..written);
                }
                let interest = Interest::READABLE;
                let is_full = !output.is_empty();
                Ok(Next::Modify(if is_full { interest | Interest::WRITABLE } else { interest }))
            })
            .unwrap();
        let (mut received, mut sent) = (0, 1);
        (&client).write_all(&[7; 64]).unwrap();
        event_loop
            .register(client, Interest::READABLE, move |_, mut client, _event| {
                received += client.read(&mut [0; 512]).unwrap_or(0);
                if received == 64 * MESSAGES {
                    return Ok(Next::Remove);
                }
                if received == 64 * sent {
                    client.write_all(&[7; 64])?;
                    sent += 1;
                }
                Ok(Next::Keep)
            })
            .unwrap();
    }
    event_loop.run().unwrap();
}

/// The same as tasks.
fn echo_of_tasks(lab: &Lab, faults: Faults) {
    let mut event_loop = EventLoop::in_lab(lab, ()).unwrap();
    for _ in 0..CLIENTS {
        let (server, client) = stream_pair().unwrap();
        let server = Async::new(lab.flaky(server, faults)).unwrap();
        let client = Async::new(client).unwrap();
        event_loop
            .spawn(async move {
                let mut buffer = [0; 512];
                loop {
                    match server.read(&mut buffer).await? {
                        0 => return std::io::Result::Ok(()),
                        read => server.write_all(&buffer[..read]).await?,
                    }
                }
            })
            .detach();
        event_loop
            .spawn(async move {
                for _ in 0..MESSAGES {
                    client.write_all(&[7; 64]).await?;
                    client.read_exact(&mut [0; 64]).await?;
                }
                asyncio::yield_now().await;
                std::io::Result::Ok(())
            })
            .detach();
    }
    event_loop.run().unwrap();
}

/// `cargo test --release --all-features --test testing -- --ignored --nocapture seeds_per_second`.
#[test]
#[ignore = "measures"]
fn seeds_per_second_of_an_echo_of_a_hundred_clients() {
    let levels = [
        ("none", Disorder::none(), Faults::none()),
        ("promised", Disorder::promised(), Faults::mild()),
        ("network", Disorder::network(), Faults::mild()),
    ];
    for (name, disorder, faults) in levels {
        for (style, program) in
            [("callbacks", echo_of_callbacks as fn(&Lab, Faults)), ("tasks", echo_of_tasks)]
        {
            let start = Instant::now();
            let mut seeds = 0;
            while start.elapsed() < Duration::from_secs(3) {
                program(&Lab::new(seeds, disorder), faults);
                seeds += 1;
            }
            let rate = seeds as f64 / start.elapsed().as_secs_f64();
            println!("{name:>8}, {style:>9}: {rate:>6.1} seeds a second");
        }
    }
}

#[test]
fn the_echo_of_a_hundred_clients_ends_under_each_level() {
    for disorder in [Disorder::none(), Disorder::promised(), Disorder::network()] {
        echo_of_callbacks(&Lab::new(1, disorder), Faults::mild());
        echo_of_tasks(&Lab::new(1, disorder), Faults::mild());
    }
}
