//! The memory of a registration, counted by the allocator and not by `size_of`: every live byte, at
//! the most expensive size. Run it with `--nocapture` to see the figures.

#![cfg(unix)]

use std::os::fd::{AsFd, OwnedFd};

use peak_alloc::PeakAlloc;
use polyselect::{Backend, Interest, Selector};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// With fewer registrations, a selector's fixed cost would be counted as theirs.
const LEAST: usize = 500;

struct Cost {
    /// The most live bytes per registration, and the number of registrations at that point.
    live: (f64, usize),
    /// The same for the peak while a buffer grew, when old and new are alive for a moment.
    peak: (f64, usize),
}

fn measure(backend: Backend, modify_all: bool) -> Cost {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).unwrap();
    let most = usize::try_from(limit.maximum.unwrap_or(20_000)).unwrap().min(20_000) - 100;

    let (reader, _writer) = std::io::pipe().unwrap();
    let mut selector: Selector<OwnedFd, u64> = Selector::with_backend(backend).unwrap();
    let mut cost = Cost { live: (0.0, 0), peak: (0.0, 0) };
    let mut keys = Vec::with_capacity(most);
    let before = MEMORY.current_usage();
    for count in 1..=most {
        let source = reader.as_fd().try_clone_to_owned().unwrap();
        MEMORY.reset_peak_usage();
        keys.push(selector.register(source, Interest::READABLE, count as u64).unwrap());
        if modify_all {
            selector.modify(keys[count - 1], Interest::READABLE | Interest::WRITABLE).unwrap();
        }
        if count >= LEAST {
            let each = |bytes: usize| (bytes - before) as f64 / count as f64;
            let live = each(MEMORY.current_usage());
            let peak = each(MEMORY.peak_usage());
            cost.live = if live > cost.live.0 { (live, count) } else { cost.live };
            cost.peak = if peak > cost.peak.0 { (peak, count) } else { cost.peak };
        }
    }
    let pending = if modify_all { ", each with a change pending" } else { "" };
    println!(
        "{backend}{pending}: at worst {:.1} bytes a registration (at {}), {:.1} while growing (at {})",
        cost.live.0, cost.live.1, cost.peak.0, cost.peak.1
    );
    cost
}

#[test]
fn a_registration_costs_at_most_64_bytes_on_epoll() {
    for backend in Backend::available() {
        for modify_all in [false, true] {
            let cost = measure(backend, modify_all);
            if backend == Backend::Epoll {
                assert!(cost.live.0 <= 64.0, "{:.1} bytes", cost.live.0);
            }
        }
    }
}
