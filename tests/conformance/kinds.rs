//! Every kind of source in every state: guaranteed flags are those of the state, and detail is a
//! subset of the truth.

#[cfg(target_os = "linux")]
mod linux;
mod sockets;
#[cfg(windows)]
mod windows;

use polyselect::{Backend, Interest, Ready};

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(windows)]
use windows as system;

use crate::support::*;

cases! {
    every_kind_of_source_reports_its_state,
}

/// A source in some state, and the files that keep it in that state.
struct Subject {
    name: &'static str,
    source: system::Owned,
    _others: Vec<system::Owned>,
}

fn subject(name: &'static str, source: impl Into<system::Owned>) -> Subject {
    Subject { name, source: source.into(), _others: Vec::new() }
}

impl Subject {
    fn with(mut self, other: impl Into<system::Owned>) -> Self {
        self._others.push(other.into());
        self
    }
}

fn every_kind_of_source_reports_its_state(backend: Backend) {
    let every = [NOTHING, R, W, P, R | W, R | W | P];
    let mut subjects = Vec::new();
    sockets::tcp(&mut subjects);
    sockets::datagrams(&mut subjects);
    system::others(&mut subjects);
    let mut wrong = Vec::new();
    for subject in subjects {
        if system::is_wrong(backend, &subject) {
            println!("skipped on {backend}: {}", subject.name);
            continue;
        }
        for interest in every {
            if interest.contains(P) && !backend.capabilities().priority {
                continue;
            }
            wrong.extend(compare(backend, &subject, interest));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns a difference between the events and the state.
fn compare(backend: Backend, subject: &Subject, interest: Interest) -> Option<String> {
    let Subject { name, source, .. } = subject;
    let mut selector = open(backend);
    let key = selector.register(source, interest, ()).unwrap();
    let truth = match interest.is_empty() {
        true => Ready::empty(),
        false => system::truth(subject, interest),
    };
    let guaranteed = Ready::READABLE | Ready::WRITABLE | Ready::PRIORITY;
    for round in 0..2 {
        let events = select(&mut selector, std::time::Duration::from_millis(1));
        assert!(events.iter().all(|event| event.key == key));
        let found = events.first().map_or(Ready::empty(), |event| event.ready);
        let what =
            format!("{name}, {interest:?}, round {round}: {found:?}, the truth is {truth:?}");
        let mut expected = truth & guaranteed;
        if backend == Backend::Select && truth.contains(Ready::WRITE_CLOSED) && interest == W {
            // It cannot see a hang-up there unless the kernel reports the descriptor as writable,
            // too.
            expected = found & guaranteed;
        }
        if found & guaranteed != expected || !truth.contains(found) {
            return Some(what);
        }
    }
    None
}
