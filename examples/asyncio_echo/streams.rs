//! Sockets that tasks read, write and accept from, after asyncio's `start_server`,
//! `StreamReader` and `StreamWriter`.

use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::rc::Rc;
use std::task::Poll;

use polyselect::accept::{Batch, REST, is_exhausted};
use polyselect::{Interest, Key, WriteQueue};
use socket2::Socket;

use crate::common;
use crate::executor::{Executor, Handle};

/// A socket that stays registered until its last owner drops it.
struct Stream {
    socket: Rc<Socket>,
    key: Key,
    handle: Handle,
}

impl Stream {
    fn new(handle: &Handle, socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = Rc::new(socket);
        let key = handle.register(Rc::clone(&socket))?;
        Ok(Self { socket, key, handle: handle.clone() })
    }

    /// Yields to the other tasks until the socket is ready. Without this a socket that always
    /// has data would occupy the thread.
    async fn ready(&self, ready: Interest) -> io::Result<()> {
        let mut has_waited = false;
        poll_fn(|context| {
            if has_waited {
                return Poll::Ready(Ok(()));
            }
            has_waited = true;
            self.handle.wake_when(self.key, ready, context.waker())?;
            Poll::Pending
        })
        .await
    }

    /// Repeats an operation until it does not return `WouldBlock`.
    async fn when<T>(
        &self,
        ready: Interest,
        mut operation: impl FnMut(&Socket) -> io::Result<T>,
    ) -> io::Result<T> {
        poll_fn(|context| {
            loop {
                match operation(&self.socket) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.handle.wake_when(self.key, ready, context.waker())?;
                        return Poll::Pending;
                    }
                    result => return Poll::Ready(result),
                }
            }
        })
        .await
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.handle.unregister(self.key);
    }
}

pub(crate) struct Reader(Rc<Stream>);

impl Reader {
    /// Reads at least one byte and at most `n`; an empty result is the end of the stream.
    pub(crate) async fn read(&mut self, n: usize) -> io::Result<Vec<u8>> {
        self.0.ready(Interest::READABLE).await?;
        let mut data = vec![0; n];
        let read = self.0.when(Interest::READABLE, |mut socket| socket.read(&mut data)).await?;
        data.truncate(read);
        Ok(data)
    }
}

pub(crate) struct Writer {
    stream: Rc<Stream>,
    outgoing: WriteQueue,
}

impl Writer {
    /// Sends as much as the socket takes at once and queues the rest; waits only above the
    /// high-water mark.
    pub(crate) async fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.outgoing.send(&*self.stream.socket, data)?;
        if self.outgoing.is_high() { self.drain().await } else { Ok(()) }
    }

    /// Waits until everything is sent.
    pub(crate) async fn drain(&mut self) -> io::Result<()> {
        let Self { stream, outgoing } = self;
        let flush = |socket: &Socket| match outgoing.flush(socket)? {
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        };
        stream.when(Interest::WRITABLE, flush).await
    }

    /// The peer's address.
    pub(crate) fn peer(&self) -> String {
        common::peer(&self.stream.socket)
    }
}

pub(crate) struct Server<H> {
    listener: Stream,
    handler: H,
}

impl<H, F> Server<H>
where
    H: Fn(Reader, Writer) -> F,
    F: Future<Output = io::Result<()>> + 'static,
{
    /// Listens, and prints the address.
    pub(crate) fn start(executor: &Executor, addr: &str, handler: H) -> io::Result<Self> {
        let listener = Stream::new(&executor.handle(), common::listen(addr)?)?;
        Ok(Self { listener, handler })
    }

    pub(crate) fn addr(&self) -> String {
        common::local(&self.listener.socket)
    }

    /// Starts a task for each client that connects.
    pub(crate) async fn serve_forever(self) {
        if let Err(error) = self.accept_all().await {
            log::error!("no connection is accepted any more: {error}");
        }
    }

    async fn accept_all(&self) -> io::Result<()> {
        loop {
            self.listener.ready(Interest::READABLE).await?;
            match self.accept_batch() {
                Err(error) if is_exhausted(&error) => {
                    log::warn!("no connection is accepted for {REST:?}: {error}");
                    self.listener.handle.sleep(REST).await;
                }
                result => result?,
            }
        }
    }

    fn accept_batch(&self) -> io::Result<()> {
        let mut batch = Batch::new();
        while let Some((socket, _addr)) = batch.next(|| self.listener.socket.accept())? {
            self.serve(socket);
        }
        Ok(())
    }

    fn serve(&self, socket: Socket) {
        let handle = &self.listener.handle;
        let stream = match Stream::new(handle, socket) {
            Ok(stream) => Rc::new(stream),
            Err(error) => return log::warn!("a connection cannot be watched: {error}"),
        };
        let reader = Reader(Rc::clone(&stream));
        let writer = Writer { stream, outgoing: WriteQueue::new() };
        let client = (self.handler)(reader, writer);
        handle.spawn(async {
            if let Err(error) = client.await {
                log::warn!("a client's task ended: {error}");
            }
        });
    }
}
