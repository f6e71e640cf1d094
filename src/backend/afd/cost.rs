//! The cost of a wait beside the cost of the same calls without a selector, as in the table of `docs/performance.md`. Each is
//! measured in a process of its own, and under wine with a server of its own, because the order in which that has
//! allocated its requests changes the cost of walking them.
//!
//! ```text
//! cargo test --lib -- --ignored --nocapture afd::cost::of_the_calls_alone
//! cargo test --lib -- --ignored --nocapture afd::cost::of_a_selector
//! ```

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use super::driver::{Owner, Request, base_socket, mask};
use super::helpers::Helpers;
use super::port::{Packet, Port};
use crate::descriptor::Descriptor;
use crate::{Backend, Interest, Selector};

const WAITS: usize = 400;
const SIZES: [usize; 3] = [100, 1000, 5000];

/// The order in which sockets are active: one after the other, or the same one each time.
#[derive(Clone, Copy, Debug)]
enum Order {
    Rotating,
    Same,
}

impl Order {
    fn pick(self, number: usize, sockets: &[UdpSocket]) -> &UdpSocket {
        match self {
            Self::Rotating => &sockets[number * 7919 % sockets.len()],
            Self::Same => &sockets[0],
        }
    }
}

/// The median of `WAITS` calls of `wait`, before each of which one socket gets a datagram.
fn median(sockets: &[UdpSocket], order: Order, mut wait: impl FnMut()) -> Duration {
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut times = Vec::new();
    for number in 0..WAITS {
        let active = order.pick(number, sockets);
        sender.send_to(b"!", active.local_addr().unwrap()).unwrap();
        let begin = Instant::now();
        wait();
        times.push(begin.elapsed());
        active.recv(&mut [0; 8]).unwrap();
    }
    times.sort_unstable();
    times[WAITS / 2]
}

/// The calls of the backend: a look for stale packets, the request of the socket that was reported last, and the wait.
fn calls_alone(sockets: &[UdpSocket], order: Order) -> Duration {
    let port = Port::open().unwrap();
    let mut helpers = Helpers::open(&port).unwrap();
    let states = mask::ABORT | mask::CONNECT_FAIL | mask::LOCAL_CLOSE | mask::RECEIVE;
    let states = states | mask::ACCEPT | mask::DISCONNECT;
    for (slot, socket) in sockets.iter().enumerate() {
        let helper = helpers.acquire(&port).unwrap();
        let socket = base_socket(Descriptor::of(socket)).unwrap();
        let owner = Owner { slot, generation: 0, helper, socket };
        assert!(helpers.get(helper).submit(Request::new(), owner, states).is_ok());
    }
    let mut due = Vec::new();
    let time = median(sockets, order, || {
        // The packet of the datagram, which came before the wait.
        let stale = port.dequeue(64, Some(Duration::ZERO)).unwrap().map(completed);
        for request in stale.chain(due.drain(..)) {
            let owner = Request::owner(&request);
            assert!(helpers.get(owner.helper).submit(request, owner, states).is_ok());
        }
        due.extend(port.dequeue(64, None).unwrap().map(completed));
    });
    drop(helpers);
    // Their packets come, because the handles are closed.
    let end = Duration::from_secs(1);
    (1..sockets.len())
        .for_each(|_| drop(port.dequeue(1, Some(end)).unwrap().map(completed).next()));
    time
}

fn completed(packet: Packet) -> Box<Request> {
    let Packet::Completed(request) = packet else { panic!("nothing wakes this port") };
    request
}

fn selector(sockets: &[UdpSocket], order: Order) -> Duration {
    let mut selector = Selector::with_backend(Backend::Afd).unwrap();
    for socket in sockets {
        selector.register(socket, Interest::READABLE, ()).unwrap();
    }
    let mut events = crate::Events::with_capacity(64);
    median(sockets, order, || {
        assert_eq!(selector.select(&mut events, None).unwrap(), 1);
    })
}

fn measure(what: &str, cost: fn(&[UdpSocket], Order) -> Duration) {
    for order in [Order::Rotating, Order::Same] {
        for size in SIZES {
            let socket = |_| {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                socket.set_nonblocking(true).unwrap();
                socket
            };
            let sockets: Vec<_> = (0..size).map(socket).collect();
            println!("{what}, {order:?}, {size}: {:?}", cost(&sockets, order));
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn of_the_calls_alone() {
    measure("calls alone", calls_alone);
}

#[test]
#[ignore = "a measurement"]
fn of_a_selector() {
    measure("selector", selector);
}
