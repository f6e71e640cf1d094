//! A million timers: set, cancelled, fired; and churned, like timeouts that each request postpones: one of 10,000 is
//! cancelled and set again, repeatedly.
//!
//! ```text
//! cargo bench -p polyselect-benches --bench timers
//! cargo bench -p polyselect-benches --bench timers -- --only event-loop,calloop
//! ```
//!
//! Costs are CPU time of an operation; each contestant runs once in each round, and the ratio is to the
//! first. The contestants differ: `wheel` is ours without callbacks and without a clock, each
//! timer with eight bytes; `heap` is std's binary
//! heap, where a cancelled timer stays until its time has come; `delay-queue` (tokio-util) hands out
//! values and counts whole milliseconds; `calloop` and `event-loop` run a closure that captures.
//! calloop walks all its timers to remove one, and is measured with 5,000.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::io;
use std::num::NonZeroU64;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use calloop::timer::{TimeoutAction, Timer};
use clap::Parser;
use polyselect::{Backend, TimerKey};
use polyselect_benches::{Common, Report, alternate, timed};
use tokio_util::time::{DelayQueue, delay_queue};

#[allow(dead_code, unused_imports)] // The benchmark does not use all of it.
#[path = "../src/timer"]
mod timer {
    pub(crate) mod wheel;
}
use timer::wheel;

#[derive(Parser)]
struct Args {
    /// Timers that are set, cancelled and fired.
    #[arg(long, default_value_t = 1_000_000)]
    timers: usize,
    /// Timers that are alive while one after the other is churned.
    #[arg(long, default_value_t = 10_000)]
    live: usize,
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    #[command(flatten)]
    common: Common,
}

trait Timers {
    /// Sets a timer, which gets the next number.
    fn set(&mut self, delay: Duration);
    /// Cancels the timer with this number.
    fn cancel(&mut self, number: usize);
    /// Cancels the timer with this number, and sets it again.
    fn churn(&mut self, number: usize, delay: Duration);
    /// Fires the expired timers, and returns their number.
    fn fire(&mut self) -> u64;
}

struct Contestant {
    name: &'static str,
    open: fn() -> io::Result<Box<dyn Timers>>,
    /// The most timers for which a run takes a reasonable time: some walk all timers to cancel one.
    most: usize,
}

const CONTESTANTS: &[Contestant] = &[
    Contestant { name: "wheel", open: Wheel::open, most: usize::MAX },
    Contestant { name: "heap", open: Heap::open, most: usize::MAX },
    Contestant { name: "delay-queue", open: Delays::open, most: usize::MAX },
    Contestant { name: "event-loop", open: EventLoop::open, most: usize::MAX },
    Contestant { name: "calloop", open: Calloop::open, most: 5_000 },
];

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

struct Wheel {
    wheel: wheel::Wheel<NonZeroU64>,
    handles: Vec<wheel::Handle>,
    start: Instant,
}

impl Wheel {
    fn open() -> io::Result<Box<dyn Timers>> {
        let (wheel, start) = (wheel::Wheel::default(), Instant::now());
        Ok(Box::new(Self { wheel, handles: Vec::new(), start }))
    }
}

impl Timers for Wheel {
    fn set(&mut self, delay: Duration) {
        // Since the start, which saves it the clock that the others read.
        self.handles.push(self.wheel.insert(nanoseconds(delay), NonZeroU64::MIN));
    }

    fn cancel(&mut self, number: usize) {
        self.wheel.cancel(self.handles[number]).expect("is set");
    }

    fn churn(&mut self, number: usize, delay: Duration) {
        self.wheel.cancel(self.handles[number]).expect("is set");
        self.handles[number] = self.wheel.insert(nanoseconds(delay), NonZeroU64::MIN);
    }

    fn fire(&mut self) -> u64 {
        self.wheel.collect_due(nanoseconds(self.start.elapsed()));
        let mut fired = 0;
        while let Some(handle) = self.wheel.next_due() {
            self.wheel.cancel(handle).expect("is parked");
            fired += 1;
        }
        fired
    }
}

struct Heap {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
    /// For each timer ever set whether it is still to fire.
    alive: Vec<bool>,
    /// For each number the timer that it has now.
    current: Vec<usize>,
}

impl Heap {
    fn open() -> io::Result<Box<dyn Timers>> {
        let (heap, alive, current) = (BinaryHeap::new(), Vec::new(), Vec::new());
        Ok(Box::new(Self { heap, alive, current }))
    }

    fn push(&mut self, delay: Duration) -> usize {
        let timer = self.alive.len();
        self.alive.push(true);
        self.heap.push(Reverse((Instant::now() + delay, timer)));
        timer
    }
}

impl Timers for Heap {
    fn set(&mut self, delay: Duration) {
        let timer = self.push(delay);
        self.current.push(timer);
    }

    fn cancel(&mut self, number: usize) {
        self.alive[self.current[number]] = false;
    }

    fn churn(&mut self, number: usize, delay: Duration) {
        self.cancel(number);
        self.current[number] = self.push(delay);
    }

    fn fire(&mut self) -> u64 {
        let (now, mut fired) = (Instant::now(), 0);
        while let Some(&Reverse((deadline, timer))) = self.heap.peek()
            && deadline <= now
        {
            self.heap.pop();
            fired += u64::from(self.alive[timer]);
        }
        fired
    }
}

struct Delays {
    runtime: tokio::runtime::Runtime,
    queue: DelayQueue<u64>,
    keys: Vec<delay_queue::Key>,
}

impl Delays {
    fn open() -> io::Result<Box<dyn Timers>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let queue = {
            let _inside = runtime.enter();
            DelayQueue::new()
        };
        Ok(Box::new(Self { runtime, queue, keys: Vec::new() }))
    }
}

impl Timers for Delays {
    fn set(&mut self, delay: Duration) {
        let _inside = self.runtime.enter();
        self.keys.push(self.queue.insert(0, delay));
    }

    fn cancel(&mut self, number: usize) {
        let _inside = self.runtime.enter();
        self.queue.remove(&self.keys[number]);
    }

    fn churn(&mut self, number: usize, delay: Duration) {
        let _inside = self.runtime.enter();
        self.queue.remove(&self.keys[number]);
        self.keys[number] = self.queue.insert(0, delay);
    }

    fn fire(&mut self) -> u64 {
        let mut fired = 0;
        let queue = &mut self.queue;
        self.runtime.block_on(async {
            // Its wheel advances with the runtime's clock; one sleep advances that.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let expired = poll_fn(|context| {
                while let Poll::Ready(Some(_)) = queue.poll_expired(context) {
                    fired += 1;
                }
                Poll::Ready(())
            });
            // Otherwise it would stop after 128 of them, to let other tasks run.
            tokio::task::unconstrained(expired).await;
        });
        fired
    }
}

struct EventLoop {
    event_loop: polyselect::EventLoop<u64>,
    keys: Vec<TimerKey>,
}

impl EventLoop {
    fn open() -> io::Result<Box<dyn Timers>> {
        let event_loop = polyselect::EventLoop::with_backend(Backend::Epoll, 0)?;
        Ok(Box::new(Self { event_loop, keys: Vec::new() }))
    }

    fn call_later(&mut self, delay: Duration) -> TimerKey {
        let weight = delay.as_secs();
        self.event_loop.call_later(delay, move |event_loop| event_loop.state += 1 + weight / 10_000)
    }
}

impl Timers for EventLoop {
    fn set(&mut self, delay: Duration) {
        let key = self.call_later(delay);
        self.keys.push(key);
    }

    fn cancel(&mut self, number: usize) {
        self.event_loop.cancel(self.keys[number]).expect("is set");
    }

    fn churn(&mut self, number: usize, delay: Duration) {
        self.cancel(number);
        self.keys[number] = self.call_later(delay);
    }

    fn fire(&mut self) -> u64 {
        self.event_loop.state = 0;
        self.event_loop.turn(Duration::ZERO).expect("turns");
        self.event_loop.state
    }
}

struct Calloop {
    event_loop: calloop::EventLoop<'static, u64>,
    tokens: Vec<calloop::RegistrationToken>,
}

impl Calloop {
    fn open() -> io::Result<Box<dyn Timers>> {
        let event_loop = calloop::EventLoop::try_new().map_err(io::Error::other)?;
        Ok(Box::new(Self { event_loop, tokens: Vec::new() }))
    }

    fn insert(&self, delay: Duration) -> calloop::RegistrationToken {
        let weight = delay.as_secs();
        let callback = move |_, _: &mut (), fired: &mut u64| {
            *fired += 1 + weight / 10_000;
            TimeoutAction::Drop
        };
        let timer = Timer::from_duration(delay);
        self.event_loop.handle().insert_source(timer, callback).expect("is inserted")
    }
}

impl Timers for Calloop {
    fn set(&mut self, delay: Duration) {
        let token = self.insert(delay);
        self.tokens.push(token);
    }

    fn cancel(&mut self, number: usize) {
        self.event_loop.handle().remove(self.tokens[number]);
    }

    fn churn(&mut self, number: usize, delay: Duration) {
        self.cancel(number);
        self.tokens[number] = self.insert(delay);
    }

    fn fire(&mut self) -> u64 {
        let mut fired = 0;
        self.event_loop.dispatch(Duration::ZERO, &mut fired).expect("dispatches");
        fired
    }
}

/// Delays and the order of cancelling: random, but the same for all (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

fn random() -> Random {
    Random(0x9E37_79B9_7F4A_7C15)
}

/// Between a second and an hour.
fn long_delays(count: usize) -> Vec<Duration> {
    let mut random = random();
    (0..count)
        .map(|_| Duration::from_nanos(1_000_000_000 + random.below(3_599_000_000_000)))
        .collect()
}

fn shuffled(count: usize) -> Vec<usize> {
    let mut random = random();
    let mut numbers: Vec<_> = (0..count).collect();
    for last in (1..count).rev() {
        numbers.swap(last, random.below(last as u64 + 1) as usize);
    }
    numbers
}

fn per_operation(time: Duration, operations: usize) -> f64 {
    time.as_nanos() as f64 / operations as f64
}

fn set(timers: &mut dyn Timers, count: usize, _: &Args) -> io::Result<f64> {
    let delays = long_delays(count);
    let time = timed(|| {
        delays.iter().for_each(|&delay| timers.set(delay));
        Ok(())
    })?;
    Ok(per_operation(time, count))
}

fn cancel(timers: &mut dyn Timers, count: usize, _: &Args) -> io::Result<f64> {
    let numbers = shuffled(count);
    long_delays(count).into_iter().for_each(|delay| timers.set(delay));
    let time = timed(|| {
        numbers.iter().for_each(|&number| timers.cancel(number));
        Ok(())
    })?;
    Ok(per_operation(time, count))
}

fn fire(timers: &mut dyn Timers, count: usize, _: &Args) -> io::Result<f64> {
    const WITHIN: Duration = Duration::from_millis(100);

    let mut random = random();
    for _ in 0..count {
        timers.set(Duration::from_nanos(random.below(nanoseconds(WITHIN))));
    }
    thread::sleep(WITHIN + Duration::from_millis(2));
    let mut fired = 0;
    let time = timed(|| {
        while fired < count as u64 {
            fired += timers.fire();
        }
        Ok(())
    })?;
    Ok(per_operation(time, count))
}

fn churn(timers: &mut dyn Timers, count: usize, args: &Args) -> io::Result<f64> {
    let live = args.live.min(count);
    let delays = long_delays(live + count);
    let (first, later) = delays.split_at(live);
    first.iter().for_each(|&delay| timers.set(delay));
    let mut random = random();
    let numbers: Vec<_> = later.iter().map(|_| random.below(live as u64) as usize).collect();
    let time = timed(|| {
        for (&number, &delay) in numbers.iter().zip(later) {
            timers.churn(number, delay);
        }
        Ok(())
    })?;
    Ok(per_operation(time, count))
}

type Measurement = fn(&mut dyn Timers, usize, &Args) -> io::Result<f64>;

fn main() -> io::Result<()> {
    let mut args = Args::parse();
    if args.common.quick {
        (args.timers, args.rounds) = (10_000, 1);
    }
    let contestants = args.common.choose(CONTESTANTS, |contestant| contestant.name)?;
    let mut report = Report::new("timers", &args.common)?;
    let measurements: [(&str, Measurement); 4] =
        [("set", set), ("cancel", cancel), ("fire", fire), ("churn", churn)];
    for (name, measure) in measurements {
        let mut runs: Vec<_> = contestants
            .iter()
            .map(|contestant| {
                let count = args.timers.min(contestant.most);
                let args = &args;
                move || Ok([measure(&mut *(contestant.open)()?, count, args)?])
            })
            .collect();
        let results = alternate(args.rounds, &mut runs)?;
        println!("\n{name}: {} timers", args.timers);
        let rows = contestants.iter().map(|contestant| contestant.name).zip(results);
        report.table(&[("timers", args.timers as u64)], &[(name, "ns each")], rows)?;
    }
    Ok(())
}
