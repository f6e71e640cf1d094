//! Disorder from the environment, around programs that do not use labs themselves.

use std::env;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use polyselect::EventLoop;

const DISORDER: &str = "POLYSELECT_DISORDER";
const MS: Duration = Duration::from_millis(1);

/// Runs a test of this file again, in a process with disorder; fails if that fails or takes too
/// long.
fn run_again(test: &str) {
    struct Killed(Child);

    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", &format!("environment::{test}")]).env(DISORDER, "promised:1");
    let mut child = Killed(command.spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "the process does not end");
        std::thread::sleep(MS);
    };
    assert!(status.success());
}

#[test]
fn timers_and_timeouts_of_a_process_in_disorder_end() {
    if env::var_os(DISORDER).is_none() {
        return run_again("timers_and_timeouts_of_a_process_in_disorder_end");
    }
    let mut event_loop = EventLoop::new(0).unwrap();
    let start = Instant::now();
    for _ in 0..10 {
        event_loop.call_later(MS, |event_loop| event_loop.state += 1);
        event_loop.run().unwrap();
    }
    assert_eq!(event_loop.state, 10);
    assert!(start.elapsed() >= 10 * MS);
    event_loop.turn(MS).unwrap();
}
