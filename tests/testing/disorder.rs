//! Each part of the disorder has its documented effect, and no other.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use polyselect::testing::{Disorder, Lab};
use polyselect::{
    EventLoop, Events, Interest, Key, Next, Selector, Watch, asyncio, asyncio::Async,
};

use crate::sockets::{Stream, is_supported, stream_pair};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const NONE: Disorder = Disorder::none();

fn labs(disorder: Disorder) -> impl Iterator<Item = Lab> {
    (0..50).map(move |seed| Lab::new(seed, disorder))
}

/// A selector with a source for each of some watches, and their peers.
struct Bench {
    lab: Lab,
    selector: Selector<Stream, usize>,
    peers: Vec<Stream>,
    keys: Vec<Key>,
    events: Events,
}

impl Bench {
    fn new(lab: &Lab, watches: &[Watch]) -> Self {
        let mut selector = Selector::in_lab(lab, None).unwrap();
        let (mut peers, mut keys) = (Vec::new(), Vec::new());
        for (number, &watch) in watches.iter().enumerate() {
            let (source, peer) = stream_pair().unwrap();
            source.set_nonblocking(true).unwrap();
            keys.push(selector.register(source, watch, number).unwrap());
            peers.push(peer);
        }
        Self { lab: lab.clone(), selector, peers, keys, events: Events::with_capacity(64) }
    }

    fn level(lab: &Lab, count: usize) -> Self {
        Self::new(lab, &vec![Interest::READABLE.into(); count])
    }

    fn send(&mut self, number: usize) {
        self.peers[number].write_all(b"x").unwrap();
    }

    fn receive(&mut self, number: usize) -> Option<u8> {
        let mut byte = [0];
        self.selector[self.keys[number]].source().read(&mut byte).ok().map(|_| byte[0])
    }

    /// Returns the reported sources, and the duration of the wait.
    fn select(&mut self, timeout: impl Into<Option<Duration>>) -> (Vec<usize>, Duration) {
        let before = self.lab.now();
        self.selector.select(&mut self.events, timeout).unwrap();
        let keys = self.events.iter().map(|event| event.key);
        (keys.map(|key| *self.selector[key].data()).collect(), self.lab.now() - before)
    }
}

#[test]
fn without_disorder_events_come_in_the_order_of_registration_and_time_is_exact() {
    for lab in labs(NONE) {
        let mut bench = Bench::level(&lab, 4);
        (0..4).rev().for_each(|number| bench.send(number));
        assert_eq!(bench.select(SECOND), (vec![0, 1, 2, 3], Duration::ZERO));
        assert!((0..4).all(|number| bench.receive(number).is_some()));
        assert_eq!(bench.select(SECOND), (vec![], SECOND));
        assert!(!lab.log().contains("decision"), "{}", lab.log());
    }
}

#[test]
fn order_changes_the_order_of_a_batch_alone() {
    let mut orders = std::collections::BTreeSet::new();
    for lab in labs(Disorder { order: 255, ..NONE }) {
        let mut bench = Bench::level(&lab, 3);
        (0..3).for_each(|number| bench.send(number));
        let (mut order, time) = bench.select(SECOND);
        orders.insert(order.clone());
        order.sort_unstable();
        assert_eq!((order, time), (vec![0, 1, 2], Duration::ZERO));
    }
    assert_eq!(orders.len(), 6);
}

#[cfg(unix)] // Edges are not available on Windows.
#[test]
fn spurious_reports_sources_with_edges_alone() {
    let mut spurious = 0;
    for lab in labs(Disorder { spurious: 128, ..NONE }) {
        let mut bench = Bench::new(&lab, &[Interest::READABLE.edge(), Interest::READABLE.into()]);
        let (reported, time) = bench.select(SECOND);
        match &*reported {
            [] => assert_eq!(time, SECOND),
            [0] => {
                spurious += 1;
                assert_eq!(bench.receive(0), None);
            }
            other => panic!("{other:?}"),
        }
        bench.send(0);
        bench.send(1);
        assert_eq!(bench.select(SECOND).0, [0, 1]);
    }
    assert!((10..=50).contains(&spurious), "{spurious}");
}

#[cfg(unix)] // Edges are not available on Windows.
#[test]
fn spurious_reports_no_oneshot() {
    for lab in labs(Disorder { spurious: 255, ..NONE }) {
        let mut bench = Bench::new(&lab, &[Interest::READABLE.edge().oneshot()]);
        assert_eq!(bench.select(SECOND), (vec![], SECOND));
        bench.send(0);
        assert_eq!(bench.select(SECOND).0, [0]);
        assert_eq!(bench.select(SECOND), (vec![], SECOND), "it is disarmed");
    }
}

#[cfg(unix)] // On Windows a wake without a reason ends no wait.
#[test]
fn wake_ends_waits_of_selectors_with_a_waker_alone() {
    let mut early = 0;
    for lab in labs(Disorder { wake: 128, ..NONE }) {
        let mut bench = Bench::level(&lab, 1);
        assert_eq!(bench.select(SECOND), (vec![], SECOND));
        let _waker = bench.selector.waker().unwrap();
        let (reported, time) = bench.select(SECOND);
        assert!(reported.is_empty() && (time == SECOND || time.is_zero()), "{time:?}");
        early += usize::from(time.is_zero());
        bench.send(0);
        assert_eq!(bench.select(SECOND), (vec![0], Duration::ZERO));
    }
    assert!((10..50).contains(&early), "{early}");
}

#[test]
fn interrupt_ends_waits_that_signals_may_end() {
    let mut early = 0;
    for lab in labs(Disorder { interrupt: 128, ..NONE }) {
        let mut bench = Bench::level(&lab, 1);
        assert_eq!(bench.select(SECOND), (vec![], SECOND), "the wait goes on after a signal");
        bench.selector.set_interruptible(true);
        let time = bench.select(SECOND).1;
        assert!(time == SECOND || time.is_zero(), "{time:?}");
        early += usize::from(time.is_zero());
    }
    assert!((10..50).contains(&early), "{early}");
}

#[test]
fn late_ends_waits_up_to_ten_milliseconds_after_their_timeout() {
    let mut late = 0;
    for lab in labs(Disorder { late: 128, ..NONE }) {
        let mut bench = Bench::level(&lab, 1);
        let (reported, time) = bench.select(SECOND);
        assert!(reported.is_empty() && time >= SECOND && time < SECOND + 10 * MS, "{time:?}");
        late += usize::from(time > SECOND);
        bench.send(0);
        assert_eq!(bench.select(SECOND), (vec![0], Duration::ZERO));
        assert_eq!(bench.select(Duration::ZERO), (vec![0], Duration::ZERO));
    }
    assert!((10..50).contains(&late), "{late}");
}

#[test]
fn stall_lets_time_pass_after_a_wait_with_events() {
    let mut stalls = 0;
    for lab in labs(Disorder { stall: 128, ..NONE }) {
        let mut bench = Bench::level(&lab, 1);
        bench.send(0);
        let (reported, time) = bench.select(SECOND);
        assert!(reported == [0] && time < 10 * MS, "{time:?}");
        stalls += usize::from(!time.is_zero());
        assert_eq!(bench.select(Duration::ZERO), (vec![0], Duration::ZERO));
    }
    assert!((10..50).contains(&stalls), "{stalls}");
}

#[test]
fn delay_reports_a_source_later_and_loses_no_event() {
    let watches: [fn(Interest) -> Watch; 3] =
        [|interest| interest.into(), Interest::edge, Interest::oneshot];
    for watch in watches.into_iter().filter(|watch| is_supported(watch(Interest::READABLE))) {
        let mut delayed = 0;
        for lab in labs(Disorder { delay: 128, ..NONE }) {
            let mut bench = Bench::new(&lab, &[watch(Interest::READABLE); 2]);
            (0..2).for_each(|number| bench.send(number));
            let mut seen = [false; 2];
            while seen != [true; 2] {
                for number in bench.select(None).0 {
                    seen[number] = true;
                    assert_eq!(bench.receive(number), Some(b'x'), "reported twice");
                }
            }
            delayed += usize::from(!lab.elapsed().is_zero());
            assert!(lab.elapsed() < SECOND, "{:?}", lab.elapsed());
        }
        assert!((10..50).contains(&delayed), "{delayed}");
    }
}

#[test]
fn a_oneshot_that_was_reported_is_not_reported_again_by_a_delay_of_another() {
    for lab in labs(Disorder { delay: 128, ..NONE }) {
        let mut bench = Bench::new(&lab, &[Interest::READABLE.oneshot(); 3]);
        (0..3).for_each(|number| bench.send(number));
        let mut reported = [0; 3];
        for _ in 0..20 {
            bench.select(SECOND).0.into_iter().for_each(|number| reported[number] += 1);
        }
        assert_eq!(reported, [1; 3], "the bytes stay unread");
    }
}

#[test]
fn refuse_fails_registrations_and_wakers() {
    let (mut registrations, mut wakers) = (0, 0);
    for lab in labs(Disorder { refuse: 128, ..NONE }) {
        let mut selector = Selector::in_lab(&lab, None).unwrap();
        let (source, mut peer) = stream_pair().unwrap();
        peer.write_all(b"x").unwrap();
        let mut events = Events::with_capacity(8);
        match selector.register(source, Interest::READABLE, ()) {
            Ok(_) => assert_eq!(selector.select(&mut events, SECOND).unwrap(), 1),
            Err(error) => {
                registrations += 1;
                assert_eq!(error.error().kind(), ErrorKind::OutOfMemory);
                assert_eq!(selector.select(&mut events, SECOND).unwrap(), 0);
            }
        }
        wakers += usize::from(selector.waker().is_err());
    }
    assert!((10..50).contains(&registrations), "{registrations}");
    // A waker of `afd` is not registered.
    let range = if cfg!(unix) { 10..50 } else { 0..1 };
    assert!(range.contains(&wakers), "{wakers}");
}

#[test]
fn short_moves_less_in_reads_and_writes_of_tasks_and_nothing_is_lost() {
    let mut pieces = 0;
    for lab in labs(Disorder { short: 128, ..NONE }) {
        let (left, right) = stream_pair().unwrap();
        let (left, right) = (Async::new(left).unwrap(), Async::new(right).unwrap());
        let sent: Vec<u8> = (0..200).collect();
        let work = async {
            left.write_all(&sent).await.unwrap();
            drop(left);
            let (mut received, mut buffer) = (Vec::<u8>::new(), [0; 256]);
            loop {
                match right.read(&mut buffer).await.unwrap() {
                    0 => break received,
                    read => received.extend(&buffer[..read]),
                }
                pieces += 1;
            }
        };
        let received = EventLoop::in_lab(&lab, ()).unwrap().block_on(work).unwrap();
        assert_eq!(received, sent);
        assert_eq!(lab.elapsed(), Duration::ZERO);
    }
    assert!(pieces > 60, "{pieces}");
}

#[test]
fn remote_delays_calls_of_other_threads_by_an_iteration() {
    let mut late = 0;
    for lab in labs(Disorder { remote: 128, ..NONE }) {
        let mut event_loop = EventLoop::in_lab(&lab, 0).unwrap();
        let remote = event_loop.remote().unwrap();
        lab.thread(move || remote.call(|event_loop| event_loop.state += 1).unwrap())
            .join()
            .unwrap();
        let mut turns = 0;
        while event_loop.state == 0 {
            event_loop.turn(SECOND).unwrap();
            turns += 1;
        }
        late += usize::from(turns > 1);
        assert_eq!(event_loop.turn(Duration::ZERO).unwrap().calls, 0);
    }
    assert!((10..50).contains(&late), "{late}");
}

#[test]
fn remote_does_not_delay_calls_of_the_loops_own_thread() {
    for lab in labs(Disorder { remote: 255, ..NONE }) {
        let mut event_loop = EventLoop::in_lab(&lab, 0).unwrap();
        let remote = event_loop.remote().unwrap();
        remote.call(|event_loop| event_loop.state += 1).unwrap();
        event_loop.turn(SECOND).unwrap();
        assert_eq!(event_loop.state, 1);
    }
}

/// Returns the orders of 3 tasks that are woken together, and of 3 timers of one deadline.
fn orders(disorder: Disorder) -> (usize, usize) {
    let [mut of_tasks, mut of_timers] = [(); 2].map(|()| std::collections::BTreeSet::new());
    for lab in labs(disorder) {
        let mut event_loop = EventLoop::in_lab(&lab, Vec::new()).unwrap();
        for number in 0..3 {
            event_loop.call_later(SECOND, move |event_loop| event_loop.state.push(number));
        }
        event_loop.run().unwrap();
        of_timers.insert(std::mem::take(&mut event_loop.state));
        assert!(lab.elapsed() >= SECOND);

        let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        for number in 0..3 {
            let order = std::rc::Rc::clone(&order);
            event_loop.spawn(async move { order.borrow_mut().push(number) }).detach();
        }
        event_loop.run().unwrap();
        of_tasks.insert(order.take());
    }
    (of_tasks.len(), of_timers.len())
}

#[test]
fn tasks_and_timers_run_in_another_order_where_asked_for_alone() {
    assert_eq!(orders(Disorder { tasks: 255, ..NONE }), (6, 1));
    assert_eq!(orders(Disorder { timers: 255, ..NONE }), (1, 6));
    assert_eq!(orders(Disorder::network()), (1, 1));
}

#[test]
fn sleeping_tasks_keep_their_time_under_every_level() {
    for level in [Disorder::promised(), Disorder::network(), Disorder::beyond()] {
        for lab in labs(level) {
            let work = async {
                let start = asyncio::now();
                asyncio::sleep(SECOND).await;
                asyncio::now() - start
            };
            let slept = EventLoop::in_lab(&lab, ()).unwrap().block_on(work).unwrap();
            assert!((SECOND..SECOND + 100 * MS).contains(&slept), "{slept:?}");
        }
    }
}

#[test]
fn callbacks_see_every_byte_under_every_level() {
    for level in [Disorder::promised(), Disorder::network(), Disorder::beyond()] {
        for lab in labs(level) {
            let mut event_loop = EventLoop::in_lab(&lab, 0).unwrap();
            let watches = [Interest::READABLE.into(), Interest::READABLE.edge()];
            let watches = watches.into_iter().filter(|&watch| is_supported(watch));
            let expected = 100 * watches.clone().count();
            for watch in watches {
                let (source, mut peer) = stream_pair().unwrap();
                source.set_nonblocking(true).unwrap();
                event_loop
                    .register(source, watch, |event_loop, mut source, _event| {
                        loop {
                            match source.read(&mut [0; 4]) {
                                Ok(0) => return Ok(Next::Remove),
                                Ok(read) => event_loop.state += read,
                                Err(_) => return Ok(Next::Keep),
                            }
                        }
                    })
                    .unwrap();
                event_loop.call_later(SECOND, move |_loop| peer.write_all(&[0; 100]).unwrap());
            }
            event_loop.run().unwrap();
            assert_eq!(event_loop.state, expected);
        }
    }
}
