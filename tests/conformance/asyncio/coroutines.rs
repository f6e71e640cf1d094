//! Tasks: when they run, how they end, and how they may use the loop.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, set_hook, take_hook};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use polyselect::asyncio::{self, Async};
use polyselect::{Backend, EventLoop, Next};

use crate::event_loop::open;
use crate::support::*;

cases! {
    a_spawned_task_is_first_polled_in_the_next_iteration,
    a_task_woken_in_an_iteration_runs_in_it_once,
    a_task_that_wakes_itself_forever_starves_no_other,
    a_wake_from_another_thread_ends_the_wait,
    wakes_before_a_poll_are_coalesced,
    a_task_may_hold_state_that_is_not_send,
    a_handle_returns_the_result,
    a_dropped_handle_cancels_its_task,
    cancelling_drops_a_task_where_it_waits,
    cancelling_a_task_that_has_ended_changes_nothing,
    a_detached_task_goes_on,
    a_panic_reaches_only_the_handle_of_its_task,
    a_panic_while_a_task_is_dropped_leaves_the_others,
    tasks_spawn_tasks,
    run_returns_when_the_last_task_has_ended,
    a_loop_that_is_dropped_drops_its_tasks,
    block_on_may_borrow_and_runs_everything_else,
    block_on_in_a_callback_is_an_error,
    block_on_ends_with_stop,
    a_panic_passes_through_block_on,
    awaiting_or_spawning_outside_a_task_is_an_error,
    a_spawn_in_a_callback_panics_at_the_place_of_the_call,
    a_loop_runs_inside_a_callback_of_another,
}

fn a_spawned_task_is_first_polled_in_the_next_iteration(backend: Backend) {
    let mut event_loop = open(backend, ());
    let polls = Rc::new(Cell::new(0));
    let handle = event_loop.spawn({
        let polls = Rc::clone(&polls);
        async move { polls.set(polls.get() + 1) }
    });
    assert_eq!((polls.get(), event_loop.stats().tasks), (0, 1));
    event_loop.turn(SURELY).unwrap();
    assert!(handle.is_finished());
    let stats = event_loop.stats();
    assert_eq!((polls.get(), stats.tasks, stats.polls), (1, 0, 1));
}

fn a_task_woken_in_an_iteration_runs_in_it_once(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (order, waker) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(None)));
    event_loop
        .spawn({
            let (order, waker) = (Rc::clone(&order), Rc::clone(&waker));
            poll_fn(move |context| {
                order.borrow_mut().push("coroutine");
                waker.set(Some(context.waker().clone()));
                Poll::<()>::Pending
            })
        })
        .detach();
    event_loop.turn(SURELY).unwrap();
    // Calls run before tasks, timers before calls.
    let say = |word| {
        let (order, waker) = (Rc::clone(&order), Rc::clone(&waker));
        move || {
            order.borrow_mut().push(word);
            let known = waker.take().expect("has been polled");
            known.wake_by_ref();
            waker.set(Some(known));
        }
    };
    let (timer, call) = (say("timer"), say("call"));
    event_loop.call_later(Duration::ZERO, move |_| timer());
    event_loop.call_soon(move |_| call());
    event_loop.turn(SURELY).unwrap();
    assert_eq!(*order.borrow(), ["coroutine", "timer", "call", "coroutine"]);
}

fn a_task_that_wakes_itself_forever_starves_no_other(backend: Backend) {
    let mut event_loop = open(backend, Vec::new());
    let selfish = event_loop.spawn(async {
        loop {
            asyncio::yield_now().await;
        }
    });
    let (left, right) = pair();
    fill(&left);
    event_loop
        .register(right, R, |event_loop, right, _event| {
            drain(right);
            event_loop.state.push("source");
            Ok(Next::Remove)
        })
        .unwrap();
    event_loop.call_later(A_WHILE, |event_loop| event_loop.state.push("timer"));
    event_loop.call_soon(|event_loop| event_loop.state.push("call"));
    let other = event_loop.spawn(asyncio::sleep(A_WHILE));
    let start = Instant::now();
    while !other.is_finished() || event_loop.state.len() < 3 {
        event_loop.turn(SURELY).unwrap();
        assert!(start.elapsed() < SURELY, "only {:?}", event_loop.state);
    }
    assert!(!selfish.is_finished());
}

fn a_wake_from_another_thread_ends_the_wait(backend: Backend) {
    let mut event_loop = open(backend, ());
    for _ in 0..20 {
        let (sender, receiver) = channel();
        let is_done = Arc::new(AtomicBool::new(false));
        let thread = {
            let is_done = Arc::clone(&is_done);
            thread::spawn(move || {
                let waker: Waker = receiver.recv().unwrap();
                is_done.store(true, Ordering::Relaxed);
                waker.wake();
            })
        };
        let future = poll_fn(|context| {
            if is_done.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            // At a second, spurious poll the receiver is gone.
            let _ = sender.send(context.waker().clone());
            Poll::Pending
        });
        event_loop.block_on(asyncio::timeout(SURELY, future)).unwrap().expect("a wake");
        thread.join().unwrap();
    }
}

fn wakes_before_a_poll_are_coalesced(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (polls, waker) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
    event_loop
        .spawn({
            let (polls, waker) = (Rc::clone(&polls), Rc::clone(&waker));
            poll_fn(move |context| {
                polls.set(polls.get() + 1);
                waker.set(Some(context.waker().clone()));
                Poll::<()>::Pending
            })
        })
        .detach();
    event_loop.turn(SURELY).unwrap();
    let waker: Waker = waker.take().unwrap();
    for _ in 0..5 {
        waker.wake_by_ref();
    }
    thread::scope(|scope| {
        scope.spawn(|| (0..5).for_each(|_| waker.wake_by_ref()));
    });
    event_loop.turn(SURELY).unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
    assert_eq!(polls.get(), 2);
}

fn a_task_may_hold_state_that_is_not_send(backend: Backend) {
    let mut event_loop = open(backend, ());
    let shared = Rc::new(RefCell::new(Vec::new()));
    for number in 0..3 {
        let shared = Rc::clone(&shared);
        let task = async move {
            for round in 0..2 {
                shared.borrow_mut().push((round, number));
                asyncio::yield_now().await;
            }
        };
        event_loop.spawn(task).detach();
    }
    event_loop.run().unwrap();
    assert_eq!(*shared.borrow(), [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
}

fn a_handle_returns_the_result(backend: Backend) {
    let mut event_loop = open(backend, ());
    let first = event_loop.spawn(async {
        asyncio::yield_now().await;
        String::from("first")
    });
    let second = event_loop.spawn(async { first.await.unwrap() + " and second" });
    assert_eq!(event_loop.block_on(second).unwrap().unwrap(), "first and second");
}

/// Reports its own drop.
struct Dropped(Rc<Cell<bool>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

fn a_dropped_handle_cancels_its_task(backend: Backend) {
    let mut event_loop = open(backend, ());
    let is_dropped = Rc::new(Cell::new(false));
    let guard = Dropped(Rc::clone(&is_dropped));
    let handle = event_loop.spawn(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    event_loop.turn(SURELY).unwrap();
    assert!(!is_dropped.get());
    drop(handle);
    event_loop.run().unwrap();
    assert!(is_dropped.get());
    assert_eq!(event_loop.stats().tasks, 0);
}

fn cancelling_drops_a_task_where_it_waits(backend: Backend) {
    let mut event_loop = open(backend, ());
    let steps = Rc::new(Cell::new(0));
    let handle = event_loop.spawn({
        let steps = Rc::clone(&steps);
        async move {
            steps.set(1);
            asyncio::yield_now().await;
            steps.set(2);
        }
    });
    event_loop.turn(SURELY).unwrap();
    handle.cancel();
    let error = event_loop.block_on(handle).unwrap().unwrap_err();
    assert!(!error.is_panic());
    assert_eq!((error.to_string().as_str(), steps.get()), ("the task was cancelled", 1));
}

fn cancelling_a_task_that_has_ended_changes_nothing(backend: Backend) {
    let mut event_loop = open(backend, ());
    let handle = event_loop.spawn(async { 7 });
    event_loop.turn(SURELY).unwrap();
    handle.cancel();
    assert_eq!(event_loop.block_on(handle).unwrap().unwrap(), 7);
}

fn a_detached_task_goes_on(backend: Backend) {
    let mut event_loop = open(backend, ());
    let has_ended = Rc::new(Cell::new(false));
    let task = {
        let has_ended = Rc::clone(&has_ended);
        async move {
            asyncio::sleep(Duration::from_millis(1)).await;
            has_ended.set(true);
        }
    };
    event_loop.spawn(task).detach();
    event_loop.run().unwrap();
    assert!(has_ended.get());
}

fn a_panic_reaches_only_the_handle_of_its_task(backend: Backend) {
    let mut event_loop = open(backend, ());
    let failing = event_loop.spawn(async {
        asyncio::yield_now().await;
        panic_any(17)
    });
    let other = event_loop.spawn(async {
        asyncio::yield_now().await;
        asyncio::yield_now().await;
        3
    });
    assert_eq!(event_loop.block_on(other).unwrap().unwrap(), 3);
    let error = event_loop.block_on(failing).unwrap().unwrap_err();
    assert!(error.is_panic());
    let panic = catch_unwind(AssertUnwindSafe(|| error.resume_panic())).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&17));
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

fn a_panic_while_a_task_is_dropped_leaves_the_others(backend: Backend) {
    let mut event_loop = open(backend, ());
    let cancelled = event_loop.spawn(async {
        let _guard = PanicsWhenDropped;
        pending::<()>().await;
    });
    let ended = event_loop.spawn(async {
        let _guard = PanicsWhenDropped;
    });
    event_loop.turn(SURELY).unwrap();
    assert!(event_loop.block_on(ended).unwrap().unwrap_err().is_panic());
    cancelled.cancel();
    assert!(!event_loop.block_on(cancelled).unwrap().unwrap_err().is_panic());
    assert_eq!(event_loop.stats().tasks, 0);
    assert_eq!(event_loop.block_on(async { 5 }).unwrap(), 5);
}

fn tasks_spawn_tasks(backend: Backend) {
    async fn sum(from: u64, to: u64) -> u64 {
        if to - from == 1 {
            return from;
        }
        let middle = u64::midpoint(from, to);
        let halves = (spawn_sum(from, middle), spawn_sum(middle, to));
        halves.0.await.unwrap() + halves.1.await.unwrap()
    }
    fn spawn_sum(from: u64, to: u64) -> asyncio::JoinHandle<u64> {
        // The box breaks the recursion of types.
        asyncio::spawn(Box::pin(sum(from, to)) as Pin<Box<dyn Future<Output = u64>>>)
    }

    let mut event_loop = open(backend, ());
    assert_eq!(event_loop.block_on(sum(0, 1000)).unwrap(), 499_500);
    assert_eq!(event_loop.stats().tasks, 0);
}

fn run_returns_when_the_last_task_has_ended(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, right) = pair();
    let kept = Rc::new(Async::new(right).unwrap());
    let reader = Rc::clone(&kept);
    event_loop.spawn(async move { reader.read(&mut [0]).await.map(drop) }).detach();
    event_loop.call_later(A_WHILE, move |_| drop(left));
    event_loop.run().unwrap();
    // A registered source without a waiting task does not keep the loop running.
    drop(kept);
    event_loop.run().unwrap();
}

fn a_loop_that_is_dropped_drops_its_tasks(backend: Backend) {
    /// Spawns another task when it is dropped, as careless clean-up might.
    struct Careless(Rc<Cell<bool>>);

    impl Drop for Careless {
        fn drop(&mut self) {
            let guard = Dropped(Rc::clone(&self.0));
            asyncio::spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            })
            .detach();
        }
    }

    let mut event_loop = open(backend, ());
    let are_dropped: [_; 3] = std::array::from_fn(|_| Rc::new(Cell::new(false)));
    let [waits, sleeps, cleans] = are_dropped.each_ref().map(Rc::clone);
    let (left, right) = pair();
    let waiting = {
        let guard = Dropped(waits);
        async move {
            let _guard = guard;
            Async::new(right).unwrap().read(&mut [0]).await
        }
    };
    let waiting = event_loop.spawn(waiting);
    let guard = Dropped(sleeps);
    event_loop
        .spawn(async move {
            let (_guard, _careless) = (guard, Careless(cleans));
            asyncio::sleep(SURELY).await;
        })
        .detach();
    event_loop.turn(Duration::ZERO).unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
    drop(event_loop);
    assert!(are_dropped.iter().all(|is_dropped| is_dropped.get()));
    assert!(waiting.is_finished());
    // The source was dropped with its task.
    wait_for_data(&left);
    assert_eq!(drain(&left), 0);
}

fn block_on_may_borrow_and_runs_everything_else(backend: Backend) {
    let mut event_loop = open(backend, 0);
    event_loop.call_soon(|event_loop| event_loop.state += 1);
    event_loop.call_later(Duration::ZERO, |event_loop| event_loop.state += 1);
    let text = String::from("lent");
    let length = event_loop.block_on(async {
        asyncio::sleep(Duration::from_millis(1)).await;
        text.len()
    });
    assert_eq!((length.unwrap(), event_loop.state), (4, 2));
}

fn block_on_in_a_callback_is_an_error(backend: Backend) {
    let mut event_loop = open(backend, false);
    event_loop.call_soon(|event_loop| {
        let error = event_loop.block_on(async { unreachable!() }).unwrap_err();
        event_loop.state = error.kind() == ErrorKind::ResourceBusy;
    });
    event_loop.run().unwrap();
    assert!(event_loop.state);
}

fn block_on_ends_with_stop(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop.call_later(Duration::from_millis(1), EventLoop::stop);
    let error = event_loop.block_on(pending::<()>()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(event_loop.block_on(async { 1 }).unwrap(), 1);
}

fn a_panic_passes_through_block_on(backend: Backend) {
    let mut event_loop = open(backend, ());
    let other = event_loop.spawn(async { 2 });
    let attempt =
        catch_unwind(AssertUnwindSafe(|| event_loop.block_on(async { panic!("on purpose") })));
    assert!(attempt.is_err());
    assert_eq!(event_loop.block_on(other).unwrap().unwrap(), 2);
}

fn awaiting_or_spawning_outside_a_task_is_an_error(_backend: Backend) {
    fn nobody() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    let (_left, right) = pair();
    let right = Async::new(right).unwrap();
    let Poll::Ready(Err(error)) = pin!(right.read(&mut [0])).poll(&mut nobody()) else {
        panic!("this waits")
    };
    assert!(error.to_string().contains("event_loop.spawn"), "{error}");
    for outside in [
        || drop(asyncio::spawn(async {})),
        || assert!(pin!(asyncio::sleep(A_WHILE)).poll(&mut nobody()).is_ready()),
    ] as [fn(); 2]
    {
        assert!(catch_unwind(outside).is_err());
    }
}

fn a_spawn_in_a_callback_panics_at_the_place_of_the_call(backend: Backend) {
    static PLACES: Mutex<Vec<(String, u32)>> = Mutex::new(Vec::new());
    set_hook(Box::new(|panic| {
        let place = panic.location().unwrap();
        PLACES.lock().unwrap().push((place.file().to_owned(), place.line()));
    }));
    let mut event_loop = open(backend, Vec::new());
    for spawn in [
        || drop(asyncio::spawn(async {})),
        || drop(asyncio::spawn_named("task", async {})),
        || drop(asyncio::shield(async {})),
        || asyncio::TaskGroup::<()>::new().spawn(async { Ok(()) }),
    ] as [fn(); 4]
    {
        event_loop.call_soon(move |event_loop: &mut EventLoop<_>| {
            let panic = catch_unwind(spawn).unwrap_err();
            event_loop.state.push(panic.downcast_ref::<String>().unwrap().clone());
        });
    }
    event_loop.run().unwrap();
    drop(take_hook());
    let line = line!() - 13;
    let expected: Vec<_> = (line..line + 4).map(|line| (file!().to_owned(), line)).collect();
    assert_eq!(*PLACES.lock().unwrap(), expected);
    for message in event_loop.state {
        assert!(message.contains("`event_loop.spawn` in a callback"), "{message}");
    }
}

fn a_loop_runs_inside_a_callback_of_another(backend: Backend) {
    let mut outer = open(backend, 0);
    let mut inner = open(backend, ());
    outer.call_soon(move |outer| {
        outer.state = inner
            .block_on(async {
                asyncio::sleep(Duration::from_millis(1)).await;
                asyncio::spawn(async { 4 }).await.unwrap()
            })
            .unwrap();
    });
    let sum = outer.spawn(async {
        asyncio::yield_now().await;
        asyncio::spawn(async { 5 }).await.unwrap()
    });
    assert_eq!(outer.block_on(sum).unwrap().unwrap() + outer.state, 9);
}
