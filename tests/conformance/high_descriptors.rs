//! High descriptors, which matter to `select` above all.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use polyselect::{Backend, Ready, Selector};

use crate::support::closed::close_behind_the_back;
use crate::support::process::raise_descriptor_limit;
use crate::support::*;

cases! {
    descriptors_around_and_above_1024_are_reported,
    one_closed_descriptor_among_many_is_invalid_alone,
}

/// Duplicates a stream to this descriptor or a higher one.
fn at(stream: &std::net::TcpStream, number: RawFd) -> OwnedFd {
    rustix::io::fcntl_dupfd_cloexec(stream, number).unwrap()
}

fn descriptors_around_and_above_1024_are_reported(backend: Backend) {
    let highest = RawFd::try_from(raise_descriptor_limit() - 1).unwrap_or(RawFd::MAX).min(19_999);
    let ((low, mut low_peer), (high, mut high_peer)) = (pair(), pair());
    for number in [1022, 1023, 1024, 1025, 1500, 4096, highest] {
        if number > highest {
            println!("descriptors end at {highest}");
            continue;
        }
        let mut selector: Selector<OwnedFd> = open(backend);
        let low_key = selector.register(low.try_clone().unwrap().into(), R, ()).unwrap();
        let source = at(&high, number);
        assert!(source.as_raw_fd() >= number);
        let high_key = selector.register(source, R, ()).unwrap();
        expect_silence(&mut selector);

        high_peer.write_all(b"!").unwrap();
        assert_eq!(expect_one(&mut selector, high_key), Ready::READABLE);
        low_peer.write_all(b"!").unwrap();
        wait_until(&mut selector, low_key, Ready::READABLE);
        assert_eq!(look(&mut selector).len(), 2);
        selector.modify(high_key, W).unwrap();
        selector.modify(low_key, NOTHING).unwrap();
        assert_eq!(expect_one(&mut selector, high_key), Ready::WRITABLE);
        drop(selector.unregister(high_key).unwrap());
        drain(&high);
        drain(&low);
        expect_silence(&mut selector);
    }
}

fn one_closed_descriptor_among_many_is_invalid_alone(backend: Backend) {
    use std::mem::ManuallyDrop;

    let (left, mut right) = pair();
    let sources: Vec<_> = (0..200).map(|_| ManuallyDrop::new(at(&left, 3))).collect();
    let mut selector: Selector<&OwnedFd, usize> = open(backend);
    for (number, source) in sources.iter().enumerate() {
        selector.register(source, R, number).unwrap();
    }
    close_behind_the_back(&*sources[117]);
    let told = select(&mut selector, A_WHILE);
    assert!(told.iter().all(|event| event.ready == Ready::INVALID), "{told:?}");
    assert!(told.iter().all(|event| *selector[event.key].data() == 117), "{told:?}");
    expect_silence(&mut selector);
    right.write_all(b"!").unwrap();
    wait_for_data(&left);
    // On epoll the duplicates keep the entry of the closed descriptor alive.
    assert!(expect_events(&mut selector).len() >= 199);
    drop(selector);
    for (number, source) in sources.into_iter().enumerate() {
        if number != 117 {
            drop(ManuallyDrop::into_inner(source));
        }
    }
}
