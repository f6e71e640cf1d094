//! An interval timer that sends a signal every millisecond, as profilers do, during waits and I/O.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use polyselect::{Backend, Selector};

use crate::event_loop::echo_until_the_end;
use crate::event_loop::open as open_loop;
use crate::support::process::Ticks;
use crate::support::*;

cases! {
    an_interval_timer_cuts_no_wait_or_turn_short,
    an_interval_timer_makes_no_timer_early_or_lost,
    an_interval_timer_loses_no_byte_of_an_echo,
    an_interval_timer_loses_no_wake_or_call_of_a_thread,
}

const TICK: Duration = Duration::from_millis(1);

fn an_interval_timer_cuts_no_wait_or_turn_short(backend: Backend) {
    let ticks = Ticks::every(TICK);
    let mut selector: Selector<TcpStream> = open(backend);
    let mut event_loop = open_loop(backend, ());
    let timer = event_loop.call_later(SURELY, |_| unreachable!());
    for timeout in [Duration::from_nanos(1), TICK, 5 * TICK, 3 * A_WHILE] {
        let start = Instant::now();
        assert!(select(&mut selector, timeout).is_empty());
        assert!(start.elapsed() >= timeout);
        let start = Instant::now();
        event_loop.turn(timeout).unwrap();
        assert!(start.elapsed() >= timeout);
    }
    event_loop.cancel(timer).unwrap();
    assert!(ticks.came());
}

fn an_interval_timer_makes_no_timer_early_or_lost(backend: Backend) {
    let ticks = Ticks::every(TICK);
    let mut event_loop = open_loop(backend, 0);
    for number in 0..50_u32 {
        let deadline = Instant::now() + number * Duration::from_micros(1300);
        event_loop.call_at(deadline, move |event_loop| {
            assert!(Instant::now() >= deadline);
            event_loop.state += 1;
        });
    }
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 50);
    assert!(ticks.came());
}

fn an_interval_timer_loses_no_byte_of_an_echo(backend: Backend) {
    const LENGTH: usize = 4_000_000;

    let mut event_loop = open_loop(backend, ());
    event_loop.on_error(|_, _, error| panic!("{error}"));
    let address = echo_until_the_end::<16_384>(&mut event_loop);
    let ticks = Ticks::every(TICK);
    let client = thread::spawn(move || {
        let client = TcpStream::connect(address).unwrap();
        let sent: Vec<u8> = (0..LENGTH).map(|n| (n % 251) as u8).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                (&client).write_all(&sent).unwrap();
                client.shutdown(std::net::Shutdown::Write).unwrap();
            });
            // Slow enough for several ticks.
            let (mut got, mut chunk) = (Vec::<u8>::new(), vec![0_u8; LENGTH / 20]);
            while got.len() < LENGTH {
                let n = (&client).read(&mut chunk).unwrap();
                got.extend(&chunk[..n]);
                thread::sleep(TICK);
            }
            assert!(got == sent);
        });
    });
    event_loop.run().unwrap();
    client.join().unwrap();
    assert!(ticks.came());
}

fn an_interval_timer_loses_no_wake_or_call_of_a_thread(backend: Backend) {
    let ticks = Ticks::every(TICK);
    let mut event_loop = open_loop(backend, 0);
    let remote = event_loop.remote().unwrap();
    let thread = thread::spawn(move || {
        for _ in 0..30 {
            remote.call_and_wait(SURELY, |event_loop| event_loop.state += 1).unwrap();
            thread::sleep(TICK);
        }
    });
    event_loop.run().unwrap();
    thread.join().unwrap();
    assert_eq!(event_loop.state, 30);
    assert!(ticks.came());
}
