//! Sources and sleeps that move from one loop to another.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use polyselect::EventLoop;
use polyselect::asyncio::{self, Async};

use super::lab::long;
use super::socket::{Socket, check_bytes, send};
use super::steps::Kind;
use super::world::World;

impl World {
    fn other_loop(&self) -> EventLoop<()> {
        self.lab.open(self.backend, ()).expect("opens")
    }

    /// A source is awaited in another loop, and then in this one, before and after the other is dropped.
    pub async fn move_source(self: Rc<Self>, lives: bool) {
        let kind = if lives { Kind::Local } else { Kind::Tcp };
        let (socket, peer) = Socket::pair(kind);
        let source = Async::new(socket).expect("becomes non-blocking");
        let (sent, received) = (Cell::new(0), Cell::new(0));
        let mut other = self.other_loop();
        let waiting = source.clone();
        let task = other.spawn(async move { waiting.readable().await });
        for _ in 0..2 {
            other.turn(Duration::ZERO).expect("turns");
        }
        if lives {
            send(&peer, &sent, 5);
        }
        // Everything in this loop is refused while the other one has the source.
        let mut buffer = [0; 8];
        let results = [
            ("readable", now(source.readable())),
            ("read", now(async { source.read(&mut buffer).await.map(drop) })),
            ("into_inner", now(async { source.clone().into_inner().await.map(drop) })),
        ];
        for (name, result) in results {
            let kind = match &result {
                Poll::Ready(Err(error)) => Some(error.kind()),
                _ => None,
            };
            let expected = match name {
                "into_inner" => ErrorKind::ResourceBusy,
                _ => ErrorKind::InvalidInput,
            };
            self.check(kind == Some(expected), || {
                format!("{name} of a source of another loop: {result:?}")
            });
        }
        self.act_in_task();
        drop(task);
        if lives {
            // The last handle is refused too, which drops it.
            let mut alone = pin!(async { source.into_inner().await.map(drop) });
            let taken = poll_fn(|context| Poll::Ready(alone.as_mut().poll(context))).await;
            let is_refused = matches!(&taken, Poll::Ready(Err(error)) if Self::is_elsewhere(error) || error.kind() == ErrorKind::ResourceBusy);
            self.check(is_refused, || format!("into_inner in another loop: {taken:?}"));
            other.turn(Duration::ZERO).expect("turns");
            return;
        }
        drop(other);
        send(&peer, &sent, 5);
        while received.get() < sent.get() {
            match source.read(&mut buffer[..3]).await {
                Ok(count @ 1..) => check_bytes(&self, "a source", &received, &buffer[..count]),
                end => return self.wrong(format!("a source whose loop is gone is read: {end:?}")),
            }
        }
        let taken = source.into_inner().await;
        self.check(taken.is_ok(), || format!("into_inner: {:?}", taken.as_ref().err()));
    }

    /// The same for a sleep and a timeout, which continue.
    pub async fn move_sleep(self: Rc<Self>, lives: bool) {
        let (start, delay) = (self.now(), long(1_000));
        let mut sleep = pin!(asyncio::sleep(delay));
        let mut timeout = pin!(asyncio::timeout(delay, std::future::pending::<()>()));
        let mut other = self.other_loop();
        let polled = other.block_on(poll_fn(|context| {
            let _ = sleep.as_mut().poll(context);
            let _ = timeout.as_mut().poll(context);
            Poll::Ready(())
        }));
        polled.expect("is ready");
        let other = lives.then_some(other);
        sleep.await;
        let elapsed = timeout.await;
        self.check(elapsed.is_err() && self.now() - start >= delay, || {
            format!("a timeout of {delay:?} ended after {:?}: {elapsed:?}", self.now() - start)
        });
        drop(other);
        self.act_in_task();
    }
}

/// Polls once.
fn now<R>(future: impl Future<Output = R>) -> Poll<R> {
    let future: Pin<&mut _> = pin!(future);
    future.poll(&mut Context::from_waker(Waker::noop()))
}
