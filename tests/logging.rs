//! The loop's log records, step by step: with `RUST_LOG=polyselect=trace`.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use polyselect::EventLoop;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Listener;

impl Log for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("polyselect")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.lock().unwrap().push(format!("{}: {}", record.level(), record.args()));
        }
    }

    fn flush(&self) {}
}

fn said(start: &str, end: &str) -> bool {
    LINES.lock().unwrap().iter().any(|line| line.starts_with(start) && line.ends_with(end))
}

/// One test, because the logger is the process's.
#[test]
fn each_step_of_a_turn_and_the_place_of_what_holds_it_up() {
    log::set_logger(&Listener).unwrap();
    log::set_max_level(LevelFilter::Trace);

    let mut event_loop = EventLoop::new(()).unwrap();
    assert!(said("DEBUG: selector on ", ""));
    event_loop.call_later(Duration::from_nanos(1), |_| ());
    let timer = format!("{}:{}", file!(), line!() - 1);
    event_loop.call_soon(|_| thread::sleep(Duration::from_millis(5)));
    let call = format!("{}:{}", file!(), line!() - 1);
    event_loop.set_slow_callback_threshold(Duration::from_millis(1));
    event_loop.run().unwrap();

    assert!(said("TRACE: waiting for Some(0ns)", ""));
    assert!(said("TRACE: 0 events to deliver", ""));
    assert!(said(&format!("TRACE: calling the timer set at {timer}:"), ""));
    assert!(said("TRACE: 1 calls to run", ""));
    assert!(said(&format!("TRACE: calling the call queued at {call}:"), ""));
    assert!(said(&format!("WARN: the call queued at {call}:"), "ms"));

    // With logging off no record is made.
    log::set_max_level(LevelFilter::Off);
    LINES.lock().unwrap().clear();
    event_loop.call_soon(|_| ());
    event_loop.run().unwrap();
    assert!(LINES.lock().unwrap().is_empty());

    #[cfg(unix)]
    an_event_names_the_place_of_its_callback(&mut event_loop);
}

#[cfg(unix)]
fn an_event_names_the_place_of_its_callback(event_loop: &mut EventLoop) {
    use polyselect::{Interest, Next, signal};
    use std::os::unix::net::UnixStream;

    log::set_max_level(LevelFilter::Trace);
    let (left, _right) = UnixStream::pair().unwrap();
    event_loop.register(left, Interest::WRITABLE, |_, _, _| Ok(Next::Remove)).unwrap();
    let place = format!("for the callback registered at {}:{}", file!(), line!() - 1);
    let key = event_loop.on_signal(signal::SIGUSR1, |_| ()).unwrap();
    let signal = format!("the callback of a signal registered at {}:{}:", file!(), line!() - 1);
    signal_hook::low_level::raise(signal::SIGUSR1).unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
    event_loop.remove_signal(key).unwrap();
    assert!(said("TRACE: 1 events to deliver", ""));
    assert!(LINES.lock().unwrap().iter().any(|line| line.contains(&place)));
    assert!(said(&format!("TRACE: calling {signal}"), ""));
}
