//! Files that never block: regular files, `/dev/null`, a redirected standard input.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;

use polyselect::{Backend, Events, Ready, Selector};

use crate::support::*;

cases! {
    a_file_is_always_ready_for_its_interest,
    a_file_never_has_priority_data needs priority,
    a_file_as_an_edge_is_reported_once needs edge,
    a_file_as_a_oneshot_is_reported_once needs oneshot,
    neither_files_nor_other_sources_starve,
    a_standard_input_redirected_from_a_file_is_readable,
    files_move_with_the_selector_to_another_backend,
}

fn files() -> Vec<OwnedFd> {
    let mut regular = tempfile::tempfile().unwrap();
    regular.write_all(b"text").unwrap();
    regular.rewind().unwrap();
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    vec![regular.into(), null.into(), File::open("/").unwrap().into()]
}

fn a_file_is_always_ready_for_its_interest(backend: Backend) {
    for file in files() {
        let mut selector = open(backend);
        let key = selector.register(&file, R, ()).unwrap();
        for (interest, ready) in
            [(R, Ready::READABLE), (W, Ready::WRITABLE), (R | W, Ready::READABLE | Ready::WRITABLE)]
        {
            selector.modify(key, interest).unwrap();
            for _ in 0..2 {
                assert_eq!(expect_one(&mut selector, key), ready);
                assert_eq!(look(&mut selector).len(), 1);
            }
        }
        selector.modify(key, NOTHING).unwrap();
        expect_silence(&mut selector);
        selector.modify(key, R).unwrap();
        assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
        selector.unregister(key).unwrap();
        expect_silence(&mut selector);
        let key = selector.register(&file, W, ()).unwrap();
        assert_eq!(expect_one(&mut selector, key), Ready::WRITABLE);
    }
}

fn a_file_never_has_priority_data(backend: Backend) {
    for file in files() {
        let mut selector = open(backend);
        let key = selector.register(&file, P, ()).unwrap();
        expect_silence(&mut selector);
        selector.modify(key, P | R).unwrap();
        assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    }
}

fn told_once(backend: Backend, watch: polyselect::Watch) {
    for file in files() {
        let mut selector = open(backend);
        let key = selector.register(&file, watch, ()).unwrap();
        for interest in [R, R, W, R | W] {
            selector.modify(key, interest).unwrap();
            let ready = expect_one(&mut selector, key);
            assert_eq!(ready, Ready::from(interest));
            expect_silence(&mut selector);
        }
    }
}

fn a_file_as_an_edge_is_reported_once(backend: Backend) {
    told_once(backend, R.edge());
}

fn a_file_as_a_oneshot_is_reported_once(backend: Backend) {
    told_once(backend, R.oneshot());
}

fn neither_files_nor_other_sources_starve(backend: Backend) {
    for capacity in [1, 2, 3, 8] {
        let mut selector: Selector<OwnedFd, &str> = open(backend);
        for file in files() {
            selector.register(file, R, "file").unwrap();
        }
        for _ in 0..3 {
            let (left, right) = pair();
            // Always writable.
            selector.register(left.into(), W, "socket").unwrap();
            selector.register(right.into(), W, "socket").unwrap();
        }
        let mut seen = std::collections::BTreeMap::new();
        let mut events = Events::with_capacity(capacity);
        for _ in 0..20 * 9 / capacity {
            assert!(selector.select(&mut events, SURELY).unwrap() > 0);
            for event in &events {
                *seen.entry(event.key).or_insert(0) += 1;
            }
        }
        assert_eq!(seen.len(), 9, "with room for {capacity}");
        assert!(seen.values().all(|&times| times >= 5), "with room for {capacity}: {seen:?}");
    }
}

/// As with `program < file`: the descriptor is 0.
fn a_standard_input_redirected_from_a_file_is_readable(backend: Backend) {
    let before = rustix::io::dup(rustix::stdio::stdin()).unwrap();
    rustix::stdio::dup2_stdin(&files()[0]).unwrap();
    {
        let stdin = std::io::stdin();
        let mut selector = open(backend);
        let key = selector.register(&stdin, R, ()).unwrap();
        assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    }
    rustix::stdio::dup2_stdin(&before).unwrap();
}

fn files_move_with_the_selector_to_another_backend(backend: Backend) {
    let mut selector = open(backend);
    let keys: Vec<_> =
        files().into_iter().map(|file| selector.register(file, R, ()).unwrap()).collect();
    for target in Backend::available() {
        selector.rebuild_with(target).unwrap();
        assert_eq!(expect_events(&mut selector).len(), keys.len());
    }
    for key in keys {
        drop(selector.unregister(key).unwrap());
    }
    expect_silence(&mut selector);
}
