//! Spurious events, and the flags that they do not have.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use polyselect::testing::{Disorder, Lab};
use polyselect::{Backend, Events, Interest, Ready, Selector};

#[test]
fn a_spurious_edge_reports_neither_an_urgent_byte_nor_an_end() {
    let lab = Lab::new(1, Disorder { spurious: 255, ..Disorder::none() });
    for backend in Backend::available().filter(|backend| {
        let can = backend.capabilities();
        can.edge && can.priority
    }) {
        let mut selector = Selector::in_lab(&lab, backend).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let conn = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let watch = (Interest::READABLE | Interest::PRIORITY).edge();
        selector.register(conn, watch, ()).unwrap();
        let mut events = Events::with_capacity(8);
        let mut seen = Ready::empty();
        for _ in 0..20 {
            selector.select(&mut events, Duration::ZERO).unwrap();
            events.iter().for_each(|event| seen |= event.ready);
        }
        assert_eq!(seen, Ready::READABLE, "{backend}");
    }
}
