//! Tasks that wait for pipes: they read, write, stop waiting, or panic when they are woken.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use polyselect::asyncio;

use super::lab::long;
use super::pipes::Pipe;
use super::socket::{check_bytes, is_end};
use super::steps::Work;
use super::world::World;

impl World {
    pub async fn work_on_pipe(self: &Rc<Self>, pipe: &Pipe, work: Work) {
        let Some(source) = pipe.source() else { return };
        let id = pipe.id;
        match work {
            Work::Read(_, size) => {
                drop(source);
                self.read(pipe, size).await;
            }
            Work::Readable(_) => {
                let result = source.readable().await;
                self.check(result.is_ok(), || format!("pipe {id} is awaited: {result:?}"));
            }
            Work::Timeout(_, delay) => {
                let start = self.now();
                match asyncio::timeout(delay, source.readable()).await {
                    Ok(result) => {
                        self.check(result.is_ok(), || format!("pipe {id} is awaited: {result:?}"));
                    }
                    Err(_) => {
                        let waited = self.now() - start;
                        self.check(waited >= delay, || format!("{delay:?} elapse in {waited:?}"));
                    }
                }
            }
            Work::Write(_, total) => {
                let mut left = total * 100;
                while left > 0 {
                    let count = left.min(5_000);
                    match source.write_next(pipe, count).await {
                        Ok(count) => left -= count,
                        Err(error) if is_end(&error) && !pipe.has_peer() => break,
                        Err(error) => return self.wrong(format!("pipe {id} is written: {error}")),
                    }
                    self.act_in_task();
                }
            }
            Work::Abandon(_) => self.abandon(pipe).await,
            Work::PanickingWaker(_) => {
                let waker = self.wakers.panicking();
                let mut wait = pin!(source.readable());
                let _ = wait.as_mut().poll(&mut Context::from_waker(&waker));
                drop(waker);
                asyncio::sleep(long(1_000)).await;
            }
            _ => unreachable!("of a pipe"),
        }
        self.act_in_task();
    }

    async fn read(self: &Rc<Self>, pipe: &Pipe, size: usize) {
        struct Leave<'a>(&'a Cell<usize>);

        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }

        let Some(source) = pipe.source() else { return };
        let id = pipe.id;
        pipe.readers.set(pipe.readers.get() + 1);
        let _leave = Leave(&pipe.readers);
        let mut buffer = vec![0; size];
        loop {
            match source.read(&mut buffer).await {
                Ok(0) => {
                    // After a write to a closed peer, the kernel may drop the peer's bytes.
                    let is_complete = pipe.written.get() > 0 || pipe.received == pipe.sent;
                    self.check(is_complete && !pipe.has_peer(), || {
                        let (received, sent) = (pipe.received.get(), pipe.sent.get());
                        format!("pipe {id} ends after {received} of {sent} bytes")
                    });
                    return;
                }
                Ok(count) => {
                    check_bytes(self, &format!("pipe {id}"), &pipe.received, &buffer[..count]);
                }
                Err(error) if is_end(&error) && !pipe.has_peer() => return,
                Err(error) => return self.wrong(format!("pipe {id} is read: {error}")),
            }
            self.act_in_task();
        }
    }

    /// Polls waits with a waker of its own, drops them, and checks that nothing keeps the waker.
    async fn abandon(self: &Rc<Self>, pipe: &Pipe) {
        let Some(source) = pipe.source() else { return };
        let server = self.servers.pick(pipe.id).and_then(|server| server.handle());
        let (waker, count) = self.wakers.counted();
        for times in 0..3 {
            {
                let mut context = Context::from_waker(&waker);
                let mut waits: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = vec![
                    Box::pin(async { drop(source.writable().await) }),
                    Box::pin(asyncio::sleep(Duration::from_secs(1_000))),
                    Box::pin(async {
                        let forever = std::future::pending::<()>();
                        let _ = asyncio::timeout(Duration::from_secs(1_000), forever).await;
                    }),
                ];
                for _ in 0..5 {
                    waits.push(Box::pin(async { drop(source.readable().await) }));
                    if let Some(server) = &server {
                        waits.push(Box::pin(async { drop(server.wait_closed().await) }));
                    }
                }
                for wait in &mut waits {
                    let _ = wait.as_mut().poll(&mut context);
                }
                if times == 1 {
                    // The loop has it registered now, and an event may have arrived.
                    asyncio::yield_now().await;
                    asyncio::yield_now().await;
                }
            }
            if times != 0 {
                asyncio::yield_now().await;
                asyncio::yield_now().await;
            }
            // Both directions and the server keep the waker of their last wait, because the same task usually waits
            // again. The timer of a sleep is cancelled by the loop, at the end of this iteration.
            let (owners, kept) = (count.owners(), 4);
            let most = if times == 0 { kept + 2 } else { kept };
            self.check(owners <= most, || {
                format!("a waker that was given up {times} times has {owners} owners")
            });
        }
    }
}
