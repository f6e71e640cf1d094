//! With queues so small that they overflow all the time.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;

use super::{Sizes, open_with};
use crate::clock::Clock;
use crate::{Backend, Events, Interest, Selector};

#[allow(unreachable_pub)] // They are crates' roots elsewhere.
#[path = "../../../tests/model/mod.rs"]
mod model;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../tests/model/random.rs"]
mod random;

const TINY: Sizes = Sizes { submissions: 4, completions: 4 };

fn tiny<S, D>() -> io::Result<Selector<S, D>> {
    Ok(Selector::on(Backend::IoUring, open_with(TINY)?, Clock::current()))
}

fn is_missing() -> bool {
    let missing = !Backend::IoUring.is_available();
    if missing {
        println!("skipped: this system does not have io_uring");
    }
    missing
}

#[test]
fn random_programs_mean_the_same_with_four_completions() {
    if !is_missing() {
        random::check("on io_uring with 4 completions", tiny);
    }
}

#[test]
fn random_programs_agree_with_four_completions_while_system_calls_fail() {
    if !is_missing() {
        random::check_with_faults("with faults on io_uring with 4 completions", tiny);
    }
}

#[test]
fn waves_that_overflow_are_all_seen() {
    if is_missing() {
        return;
    }
    for watch in [Interest::READABLE.into(), Interest::READABLE.edge()] {
        let mut selector: Selector<Rc<OwnedFd>, usize> = tiny().unwrap();
        let counters: Vec<_> = (0..100)
            .map(|_| Rc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()))
            .collect();
        for (number, counter) in counters.iter().enumerate() {
            selector.register(Rc::clone(counter), watch, number).unwrap();
        }
        let mut events = Events::with_capacity(256);
        for wave in 0..5 {
            let mut missing: Vec<_> = (0..counters.len()).collect();
            for counter in &counters {
                rustix::io::write(counter, &1_u64.to_ne_bytes()).unwrap();
            }
            while !missing.is_empty() {
                let count = selector.select(&mut events, Duration::from_secs(5)).unwrap();
                assert!(count > 0, "wave {wave}, {watch:?}: {missing:?} are missing");
                for event in &events {
                    let number = *selector[event.key].data();
                    missing.retain(|other| *other != number);
                    let _ = rustix::io::read(&counters[number], &mut [0; 8]);
                }
            }
        }
    }
}
