//! Tasks that share state or a connection across an `await`.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::rc::Rc;

use polyselect::{EventLoop, asyncio, asyncio::Async};

use super::wakeups::Bell;
use super::{MS, Trial};

#[allow(clippy::await_holding_refcell_ref)] // The mistake.
pub(super) fn borrows_across_an_await(trial: &Trial<'_>) {
    let (conn, _peer) = trial.pair();
    let conn = Rc::new(Async::new(conn).unwrap());
    let journal = Rc::new(RefCell::new(Vec::new()));
    let is_right = trial.is_right;
    let work = async {
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                let (conn, journal) = (Rc::clone(&conn), Rc::clone(&journal));
                asyncio::spawn(async move {
                    asyncio::sleep(MS * number).await;
                    let mut entries = journal.borrow_mut();
                    entries.push(number);
                    if is_right {
                        drop(entries);
                        conn.write_all(b"entry\n").await.unwrap();
                    } else {
                        conn.write_all(b"entry\n").await.unwrap();
                        drop(entries);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    };
    EventLoop::new(()).unwrap().block_on(work).unwrap();
    assert_eq!(journal.borrow().len(), 10);
}

/// Lets one task at a time write.
#[derive(Clone, Default)]
struct Lock {
    is_taken: Rc<Cell<bool>>,
    released: Bell,
}

impl Lock {
    async fn take(&self) {
        while self.is_taken.replace(true) {
            self.released.wait().await;
        }
    }

    fn release(&self) {
        self.is_taken.set(false);
        self.released.ring();
    }
}

pub(super) fn writes_records_in_two_pieces(trial: &Trial<'_>) {
    let (conn, mut peer) = trial.pair();
    let conn = Rc::new(Async::new(conn).unwrap());
    let (lock, is_right) = (Lock::default(), trial.is_right);
    let work = async {
        let tasks: Vec<_> = (0..10_u8)
            .map(|number| {
                let (conn, lock) = (Rc::clone(&conn), lock.clone());
                let (body, mut storage) = trial.pair();
                storage.write_all(&[number]).unwrap();
                let body = Async::new(body).unwrap();
                asyncio::spawn(async move {
                    asyncio::sleep(MS * number.into()).await;
                    if is_right {
                        lock.take().await;
                    }
                    conn.write_all(&[number]).await.unwrap();
                    let mut content = [0];
                    body.read_exact(&mut content).await.unwrap();
                    conn.write_all(&content).await.unwrap();
                    lock.release();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    };
    EventLoop::new(()).unwrap().block_on(work).unwrap();
    let mut bytes = [0; 20];
    peer.read_exact(&mut bytes).unwrap();
    let are_whole = bytes.chunks(2).all(|record| record[0] == record[1]);
    assert!(are_whole, "records are mixed up: {bytes:?}");
}
