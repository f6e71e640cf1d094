//! Tasks that belong together.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;

use polyselect::asyncio::{self, Async, TaskGroup};
use polyselect::{Backend, EventLoop};

use crate::event_loop::open;
use crate::support::*;

cases! {
    join_returns_the_results_in_the_order_of_spawn,
    the_first_error_cancels_the_other_tasks_and_is_returned,
    the_first_error_cancels_the_other_tasks_before_join,
    a_task_spawned_after_the_first_error_is_cancelled,
    a_panic_ends_the_group_as_an_error,
    no_task_outlives_join,
    a_dropped_group_cancels_its_tasks,
    a_group_without_tasks_joins_immediately,
    many_tasks_join,
    gather_returns_the_outputs_in_order,
    gather_may_borrow_and_be_cancelled,
    a_shielded_future_goes_on_when_the_wait_is_cancelled,
    a_shielded_future_returns_its_result_and_its_panic,
    tasks_lists_names_places_and_what_each_waits_for,
}

const STEP: Duration = Duration::from_millis(2);

/// Counts the live values.
struct Alive(Rc<Cell<i32>>);

impl Alive {
    fn new(count: &Rc<Cell<i32>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Spawns tasks that sleep until they are cancelled.
fn spawn_sleepers(group: &mut TaskGroup<()>, count: &Rc<Cell<i32>>) {
    for _ in 0..3 {
        let alive = Alive::new(count);
        group.spawn(async move {
            let _alive = alive;
            asyncio::sleep(SURELY).await;
            Ok(())
        });
    }
}

fn assert_nothing_left(event_loop: &mut EventLoop) {
    event_loop.run().unwrap();
    let stats = event_loop.stats();
    assert_eq!((stats.tasks, stats.pending_timers), (0, 0));
}

fn join_returns_the_results_in_the_order_of_spawn(backend: Backend) {
    let mut event_loop = open(backend, ());
    let results: io::Result<Vec<u32>> = event_loop
        .block_on(async {
            let mut group = TaskGroup::new();
            for number in 0..4_u32 {
                group.spawn(async move {
                    asyncio::sleep(STEP * (4 - number)).await;
                    Ok(number)
                });
            }
            assert_eq!(group.len(), 4);
            group.join().await
        })
        .unwrap();
    assert_eq!(results.unwrap(), [0, 1, 2, 3]);
    assert_nothing_left(&mut event_loop);
}

fn the_first_error_cancels_the_other_tasks_and_is_returned(backend: Backend) {
    let mut event_loop = open(backend, ());
    let alive = Rc::new(Cell::new(0));
    let of_tasks = Rc::clone(&alive);
    let result: io::Result<Vec<()>> = event_loop
        .block_on(async move {
            let mut group = TaskGroup::new();
            spawn_sleepers(&mut group, &of_tasks);
            group.spawn(async {
                asyncio::sleep(STEP).await;
                Err(ErrorKind::InvalidData.into())
            });
            let result = group.join().await;
            assert_eq!(of_tasks.get(), 0, "a task outlives the group");
            result
        })
        .unwrap();
    assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidData);
    assert_nothing_left(&mut event_loop);
}

fn the_first_error_cancels_the_other_tasks_before_join(backend: Backend) {
    for panics in [false, true] {
        let mut event_loop = open(backend, ());
        let alive = Rc::new(Cell::new(0));
        let of_tasks = Rc::clone(&alive);
        let group = event_loop
            .block_on(async move {
                let mut group = TaskGroup::new();
                spawn_sleepers(&mut group, &of_tasks);
                group.spawn(async move {
                    assert!(!panics, "on purpose");
                    Err(ErrorKind::InvalidData.into())
                });
                spawn_sleepers(&mut group, &of_tasks);
                group
            })
            .unwrap();
        event_loop.run_until_idle().unwrap();
        assert_eq!(alive.get(), 0, "join is not needed");
        let error = event_loop.block_on(group.join()).unwrap().unwrap_err();
        let expected = if panics { ErrorKind::Other } else { ErrorKind::InvalidData };
        assert_eq!(error.kind(), expected);
        assert_nothing_left(&mut event_loop);
    }
}

fn a_task_spawned_after_the_first_error_is_cancelled(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let mut group = TaskGroup::new();
            group.spawn(async { Err(ErrorKind::InvalidData.into()) });
            asyncio::sleep(STEP).await;
            let alive = Rc::new(Cell::new(0));
            spawn_sleepers(&mut group, &alive);
            asyncio::sleep(STEP).await;
            assert_eq!(alive.get(), 0);
            assert_eq!(group.join().await.unwrap_err().kind(), ErrorKind::InvalidData);
        })
        .unwrap();
    assert_nothing_left(&mut event_loop);
}

fn a_panic_ends_the_group_as_an_error(backend: Backend) {
    let mut event_loop = open(backend, ());
    let result: io::Result<Vec<()>> = event_loop
        .block_on(async {
            let mut group = TaskGroup::new();
            group.spawn(std::future::pending());
            group.spawn(async { panic!("on purpose") });
            group.join().await
        })
        .unwrap();
    assert_eq!(result.unwrap_err().to_string(), "the task panicked: on purpose");
    assert_nothing_left(&mut event_loop);
}

fn no_task_outlives_join(backend: Backend) {
    let mut event_loop = open(backend, ());
    let alive = Rc::new(Cell::new(0));
    let of_tasks = Rc::clone(&alive);
    let result: io::Result<Vec<()>> = event_loop
        .block_on(async move {
            let mut group = TaskGroup::new();
            // The error arrives before the other tasks have been polled.
            group.spawn(async { Err(ErrorKind::InvalidData.into()) });
            spawn_sleepers(&mut group, &of_tasks);
            let result = group.join().await;
            assert_eq!(of_tasks.get(), 0, "a task outlives the group");
            result
        })
        .unwrap();
    result.unwrap_err();
    assert_nothing_left(&mut event_loop);
}

fn a_dropped_group_cancels_its_tasks(backend: Backend) {
    let mut event_loop = open(backend, ());
    let alive = Rc::new(Cell::new(0));
    let of_tasks = Rc::clone(&alive);
    event_loop
        .block_on(async move {
            let mut group = TaskGroup::<()>::new();
            spawn_sleepers(&mut group, &of_tasks);
            asyncio::timeout(STEP, group.join()).await.unwrap_err();
        })
        .unwrap();
    assert_nothing_left(&mut event_loop);
    assert_eq!(alive.get(), 0);
}

fn a_group_without_tasks_joins_immediately(backend: Backend) {
    let mut event_loop = open(backend, ());
    let joined = event_loop.block_on(TaskGroup::<()>::new().join()).unwrap().unwrap();
    assert!(joined.is_empty());
}

fn many_tasks_join(backend: Backend) {
    const TASKS: usize = 10_000;

    let mut event_loop = open(backend, ());
    let results: io::Result<Vec<usize>> = event_loop
        .block_on(async {
            let mut group = TaskGroup::new();
            for number in 0..TASKS {
                group.spawn(async move {
                    asyncio::yield_now().await;
                    Ok(number)
                });
            }
            group.join().await
        })
        .unwrap();
    assert!(results.unwrap().into_iter().eq(0..TASKS));
}

fn gather_returns_the_outputs_in_order(backend: Backend) {
    let mut event_loop = open(backend, ());
    let waits = [3, 1, 2].map(|steps| async move {
        asyncio::sleep(STEP * steps).await;
        steps
    });
    assert_eq!(event_loop.block_on(asyncio::gather(waits)).unwrap(), [3, 1, 2]);
    let none: Vec<()> =
        event_loop.block_on(asyncio::gather(Vec::<std::future::Ready<()>>::new())).unwrap();
    assert!(none.is_empty());
}

fn gather_may_borrow_and_be_cancelled(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (alive, words) = (Rc::new(Cell::new(0)), ["a", "b"]);
    let work = asyncio::gather(words.iter().map(|word| {
        let alive = Alive::new(&alive);
        async move {
            let _alive = alive;
            asyncio::sleep(SURELY).await;
            word.len()
        }
    }));
    event_loop.block_on(asyncio::timeout(STEP, work)).unwrap().unwrap_err();
    assert_eq!(alive.get(), 0);
    assert_nothing_left(&mut event_loop);
}

fn a_shielded_future_goes_on_when_the_wait_is_cancelled(backend: Backend) {
    let mut event_loop = open(backend, ());
    let done = Rc::new(Cell::new(false));
    let of_task = Rc::clone(&done);
    event_loop
        .block_on(async move {
            let work = asyncio::shield(async move {
                asyncio::sleep(STEP).await;
                of_task.set(true);
                "a result that nothing receives"
            });
            asyncio::timeout(Duration::ZERO, work).await.unwrap_err();
        })
        .unwrap();
    event_loop.run().unwrap();
    assert!(done.get());
    assert_nothing_left(&mut event_loop);
}

fn a_shielded_future_returns_its_result_and_its_panic(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            assert_eq!(asyncio::shield(async { 1 }).await.unwrap(), 1);
            let panics = asyncio::shield(async { panic!("on purpose") });
            assert!(panics.await.map(|()| 0).unwrap_err().is_panic());
        })
        .unwrap();
}

fn tasks_lists_names_places_and_what_each_waits_for(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (left, right) = pair();
    let (left, right) = (Async::new(left).unwrap(), Async::new(right).unwrap());
    // Uses reads, because a spurious edge would end a wait for readiness.
    let read = |source: Async<_>| async move { source.read(&mut [0]).await };
    let reader = event_loop.spawn_named("reader", read(left));
    let both = {
        let right = right.clone();
        event_loop.spawn(asyncio::timeout(SURELY, read(right)))
    };
    let place = line!() - 2;
    let channel = event_loop.spawn_named("channel", std::future::pending::<()>());
    event_loop.run_until_idle().unwrap();
    let ready = event_loop.spawn(async {});
    event_loop.call_later(SURELY, |_| ());
    event_loop.call_every(SURELY, |_, _| ());
    let timers = line!() - 2;

    let tasks = event_loop.tasks();
    let info = |name: Option<&str>, is_ready| {
        let found = tasks.iter().find(|it| it.name.as_deref() == name && it.is_ready == is_ready);
        found.unwrap_or_else(|| panic!("{name:?}: {tasks:?}"))
    };
    assert_eq!(tasks.len(), 4);
    assert!(info(Some("reader"), false).waits_for[0].contains("READABLE"));
    let both_info = info(None, false);
    assert_eq!(both_info.spawned_at.line(), place);
    assert_eq!(both_info.waits_for.len(), 2, "{both_info}");
    assert!(info(Some("channel"), false).waits_for.is_empty());
    assert!(info(None, true).to_string().ends_with("ready"));
    let dump = event_loop.dump();
    for task in &tasks {
        assert!(dump.contains(&task.spawned_at.to_string()), "{task}: {dump}");
    }
    for line in [timers, timers + 1] {
        assert!(dump.contains(&format!("a timer, set at {}:{line}:", file!())), "{dump}");
    }
    drop((reader, both, channel, ready, right));
}
