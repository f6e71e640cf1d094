//! Looking up and iterating over registrations.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use polyselect::{Backend, Ready};

use crate::support::*;

cases! {
    registrations_are_found_by_key_by_source_and_by_iterating,
    get_disjoint_mut_needs_keys_that_differ_and_live,
    indexing_with_a_dead_key_panics_with_its_name,
    retain_keeps_what_the_closure_accepts,
    drain_gives_all_back_taken_or_not,
    #[cfg(unix)]
    drain_unregisters_all_when_the_drop_of_a_source_panics,
    debug_needs_no_bound_on_source_and_data,
}

fn registrations_are_found_by_key_by_source_and_by_iterating(backend: Backend) {
    let (left, right) = pair();
    let mut selector = open(backend);
    let one = selector.register(&left, R, 1).unwrap();
    let two = selector.register(&right, W, 2).unwrap();
    assert_eq!((selector.key_of(&left), selector.key_of(&right)), (Some(one), Some(two)));
    let mut walked: Vec<_> =
        selector.iter().map(|(key, registration)| (key, *registration.data())).collect();
    walked.sort_unstable();
    let mut expected = vec![(one, 1), (two, 2)];
    expected.sort_unstable();
    assert_eq!((walked, selector.iter().len()), (expected, 2));
    for (key, registration) in &mut selector {
        *registration.data *= 10;
        assert_eq!(registration.interest, if key == one { R } else { W });
    }
    let registration = selector.get_mut(two).unwrap();
    *registration.data += 1;
    assert_eq!((*selector[one].data(), *selector[two].data()), (10, 21));
    selector.unregister(one).unwrap();
    assert_eq!((selector.key_of(&left), selector.len()), (None, 1));
}

fn get_disjoint_mut_needs_keys_that_differ_and_live(backend: Backend) {
    let (left, right) = pair();
    let mut selector = open(backend);
    let one = selector.register(left, R, 1).unwrap();
    let two = selector.register(right, R, 2).unwrap();
    let [second, first] = selector.get_disjoint_mut([two, one]).unwrap();
    std::mem::swap(second.data, first.data);
    assert_eq!((*selector[one].data(), *selector[two].data()), (2, 1));
    assert!(selector.get_disjoint_mut([one, one]).is_none());
    selector.unregister(one).unwrap();
    assert!(selector.get_disjoint_mut([one, two]).is_none());
}

fn indexing_with_a_dead_key_panics_with_its_name(backend: Backend) {
    let (left, _right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    selector.unregister(key).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| selector[key].interest())).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains(&format!("key {key} names no registration")), "{message}");
}

fn retain_keeps_what_the_closure_accepts(backend: Backend) {
    let mut selector = open(backend);
    let mut peers = Vec::new();
    for number in 0..10 {
        let (left, right) = pair();
        selector.register(left, R, number).unwrap();
        peers.push(right);
    }
    let mut asked = 0;
    selector
        .retain(|_, registration| {
            asked += 1;
            *registration.data % 3 == 0
        })
        .unwrap();
    let mut kept: Vec<_> = selector.iter().map(|(_, registration)| *registration.data()).collect();
    kept.sort_unstable();
    assert_eq!((asked, kept), (10, vec![0, 3, 6, 9]));
    for (number, peer) in peers.iter_mut().enumerate() {
        // The sources that were not kept are closed.
        let alive = peer.write_all(b"!").is_ok();
        assert!(alive || number % 3 != 0);
    }
    for _ in 0..2 {
        while expect_events(&mut selector).len() < 4 {}
    }
}

fn drain_gives_all_back_taken_or_not(backend: Backend) {
    let mut selector = open(backend);
    let mut peers = Vec::new();
    for round in 0..2 {
        for number in 0..5 {
            let (left, mut right) = pair();
            right.write_all(b"!").unwrap();
            selector.register(left, R, number).unwrap();
            peers.push(right);
        }
        let mut drained = selector.drain().unwrap();
        assert_eq!(drained.len(), 5);
        let take = if round == 0 { 5 } else { 2 };
        let taken: Vec<_> = drained.by_ref().take(take).collect();
        assert_eq!((taken.len(), drained.len()), (take, 5 - take));
        drop(drained);
        assert!(selector.is_empty() && look(&mut selector).is_empty());
        for (key, registration) in taken {
            assert!(!selector.contains(key));
            drop(registration.into_parts().0);
        }
    }
    let (left, mut right) = pair();
    let key = selector.register(left, R, 0).unwrap();
    right.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
}

fn debug_needs_no_bound_on_source_and_data(backend: Backend) {
    struct NoDebug;

    let (left, _right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R, NoDebug).unwrap();
    let text = format!("{selector:?} {:?} {:?}", selector[key], selector.iter());
    assert!(text.contains("READABLE") && text.contains("Selector"), "{text}");
    assert!(format!("{:?}", selector.get_mut(key)).contains("READABLE"));
    assert!(format!("{:?}", selector.drain()).contains("1 left"));
}

#[cfg(unix)]
fn drain_unregisters_all_when_the_drop_of_a_source_panics(backend: Backend) {
    use std::os::fd::{AsFd, BorrowedFd};

    struct PanicsOnDrop(std::net::TcpStream, bool);

    impl AsFd for PanicsOnDrop {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            assert!(!self.1, "on purpose");
        }
    }

    let mut selector = open(backend);
    let mut peers = Vec::new();
    for number in 0..5 {
        let (left, right) = pair();
        selector.register(PanicsOnDrop(left, number == 1), W, ()).unwrap();
        peers.push(right);
    }
    let drained = catch_unwind(AssertUnwindSafe(|| {
        drop(selector.drain().unwrap());
    }));
    assert!(drained.is_err());
    assert!(selector.is_empty());
    for peer in &peers {
        wait_for_data(peer); // The end of the stream: each was closed.
    }
    expect_silence(&mut selector);
}
