//! Tasks that wait for a wake in the past, or do not wait at all.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use polyselect::{EventLoop, asyncio, asyncio::Async};

use super::{MS, Trial};

/// Wakes the tasks that wait at the moment, and stores nothing for later ones.
#[derive(Clone, Default)]
pub(super) struct Bell(Rc<(Cell<u32>, RefCell<Vec<Waker>>)>);

impl Bell {
    pub(super) fn ring(&self) {
        self.0.0.set(self.0.0.get() + 1);
        self.0.1.take().into_iter().for_each(Waker::wake);
    }

    pub(super) async fn wait(&self) {
        let before = self.0.0.get();
        poll_fn(|context| {
            if self.0.0.get() != before {
                return Poll::Ready(());
            }
            self.0.1.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

pub(super) fn waits_without_looking_again(trial: &Trial<'_>) {
    const JOBS: usize = 20;

    let (status, _peer) = trial.pair();
    let status = Async::new(status).unwrap();
    let queue = Rc::new(RefCell::new(VecDeque::new()));
    let bell = Bell::default();
    let is_right = trial.is_right;
    let worker = async {
        let (jobs, of_producer) = (Rc::clone(&queue), bell.clone());
        let producer = asyncio::spawn(async move {
            for job in 0..JOBS {
                asyncio::sleep(MS).await;
                jobs.borrow_mut().push_back(job);
                of_producer.ring();
            }
        });
        let mut done = 0;
        while done < JOBS {
            if queue.borrow_mut().pop_front().is_some() {
                done += 1;
                continue;
            }
            status.write_all(b"idle\n").await.unwrap();
            if is_right && !queue.borrow().is_empty() {
                continue; // A job arrived while the status was written.
            }
            bell.wait().await;
        }
        producer.await.unwrap();
    };
    EventLoop::new(()).unwrap().block_on(worker).unwrap();
}

pub(super) fn retries_at_once(trial: &Trial<'_>) {
    let (conn, _peer) = trial.pair();
    let conn = Async::new(conn).unwrap();
    let is_right = trial.is_right;
    let publisher = async {
        for record in 0..20_u8 {
            let mut is_sent = false;
            for attempt in 0..14 {
                is_sent = conn.try_write(&[record]).is_ok();
                if is_sent {
                    break;
                }
                let pause = if is_right { MS * (1 << attempt) } else { Duration::ZERO };
                asyncio::sleep(pause).await;
            }
            assert!(is_sent, "gave up on record {record}");
        }
    };
    EventLoop::new(()).unwrap().block_on(publisher).unwrap();
}
