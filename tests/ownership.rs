//! Rejected programs: safe code cannot move or close a registered source. Each program in the
//! folder tries one way, and the compiler must reject it with the error in the file beside it.

use std::cell::RefCell;
use std::net::TcpStream;

use polyselect::{
    Backend, Event, Events, Interest, Key, Ready, RegisterError, Registration, Selector, Waker,
    Watch, WriteQueue,
};

#[test]
#[cfg(unix)]
fn the_compiler_refuses() {
    trybuild::TestCases::new().compile_fail("tests/ownership/*.rs");
}

#[test]
fn threads_may_share_and_send_what_their_parts_allow() {
    fn send_and_sync<T: Send + Sync>() {}
    fn send<T: Send>() {}

    send_and_sync::<Selector<TcpStream, String>>();
    send_and_sync::<Registration<TcpStream, String>>();
    send_and_sync::<RegisterError<TcpStream, String>>();
    send_and_sync::<(Events, Event, Key, Ready, Interest, Watch, Backend, Waker, WriteQueue)>();
    send::<Selector<TcpStream, RefCell<u8>>>();
}

/// The kernel object is dropped before the sources, so that no dropped source is watched.
#[test]
#[cfg(epoll)]
fn a_selector_drops_its_kernel_object_before_its_sources() {
    use std::net::UdpSocket;
    use std::rc::Rc;

    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

    struct Witness {
        socket: UdpSocket,
        epoll: Rc<RefCell<Option<RawFd>>>,
    }

    impl AsFd for Witness {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.socket.as_fd()
        }
    }

    fn is_epoll(number: RawFd) -> bool {
        std::fs::read_link(format!("/proc/self/fd/{number}"))
            .is_ok_and(|target| target.to_string_lossy().contains("eventpoll"))
    }

    impl Drop for Witness {
        fn drop(&mut self) {
            let epoll = self.epoll.borrow().expect("was found");
            assert!(!is_epoll(epoll), "still open when the source is dropped");
            assert!(self.socket.as_raw_fd() >= 0);
            *self.epoll.borrow_mut() = None;
        }
    }

    let epoll = Rc::new(RefCell::new(None));
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let before: Vec<_> = (0..1000).filter(|&number| is_epoll(number)).collect();
    let mut selector = Selector::with_backend(Backend::Epoll).unwrap();
    *epoll.borrow_mut() = (0..1000).find(|&number| is_epoll(number) && !before.contains(&number));
    let witness = Witness { socket, epoll: Rc::clone(&epoll) };
    selector.register(witness, Interest::READABLE, ()).unwrap();
    drop(selector);
    assert!(epoll.borrow().is_none(), "the source was not dropped");
}
