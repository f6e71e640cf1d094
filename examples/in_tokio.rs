//! An `EventLoop` inside a tokio runtime: its callbacks and the runtime's tasks share one thread.
//! Not in the documents. Any other loop that watches descriptors and has timers can take the place
//! of tokio's. The loop echoes; tokio tasks report the bytes every second, and wait for Ctrl-C.
//!
//! ```text
//! cargo run --example in_tokio
//! nc localhost 10006
//! ```

mod common;

#[cfg(unix)]
mod server {
    use std::cell::Cell;
    use std::io::{self, Read};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::rc::Rc;
    use std::time::Duration;

    use crate::common;
    use clap::Parser;
    use polyselect::{Backend, Event, EventLoop, Interest, Next, WriteQueue};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use tokio::io::unix::AsyncFd;
    use tokio::time::{interval, timeout_at};

    #[derive(Parser)]
    struct Args {
        /// Where to listen; port 0 lets the system choose.
        #[arg(long, value_name = "HOST:PORT", default_value = "localhost:10006")]
        addr: String,
        /// The backend of the inner loop.
        #[arg(long)]
        backend: Option<Backend>,
    }

    /// Runs a loop inside a tokio task. Returns only on failure.
    async fn drive<T: 'static>(event_loop: &mut EventLoop<T>) -> io::Result<()> {
        let interest = tokio::io::Interest::READABLE;
        #[allow(deprecated)] // Sound for an `OwnedFd`; the successor is an `unsafe fn`.
        let descriptor = AsyncFd::with_interest(event_loop.descriptor()?, interest)?;
        loop {
            // Other tasks may have queued calls or set timers, so the deadline is read before each wait.
            let readable = descriptor.readable();
            let ready = match event_loop.next_deadline() {
                None => Some(readable.await?),
                Some(deadline) => match timeout_at(deadline.into(), readable).await {
                    Ok(ready) => Some(ready?),
                    Err(_elapsed) => None,
                },
            };
            event_loop.turn(Duration::ZERO)?;
            // tokio reports edges, and an iteration may leave events for the next.
            match ready {
                Some(mut ready) if !is_readable(descriptor.get_ref())? => ready.clear_ready(),
                _ => {}
            }
        }
    }

    fn is_readable(descriptor: &OwnedFd) -> io::Result<bool> {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let look = || poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&now));
        Ok(rustix::io::retry_on_intr(look)? > 0)
    }

    fn welcome(event_loop: &mut EventLoop<Rc<Cell<u64>>>, conn: TcpStream) -> io::Result<()> {
        let mut outgoing = WriteQueue::new();
        event_loop.register(
            conn,
            Interest::READABLE,
            move |event_loop, conn: &TcpStream, event| {
                let (next, count) = echo(conn, event, &mut outgoing)?;
                event_loop.state.update(|bytes| bytes + count as u64);
                Ok(next)
            },
        )?;
        Ok(())
    }

    fn echo(
        mut conn: &TcpStream,
        event: Event,
        outgoing: &mut WriteQueue,
    ) -> io::Result<(Next, usize)> {
        let mut count = 0;
        if event.is_readable() {
            let mut bytes = [0; 4096];
            count = match conn.read(&mut bytes) {
                // A peer whose stream has ended receives its answers first.
                Ok(0) if outgoing.flush(conn)? => return Ok((Next::Remove, 0)),
                Ok(0) => return Ok((Next::Modify(Interest::WRITABLE), 0)),
                Ok(count) => count,
                Err(error) if common::is_not_now(&error) => 0,
                Err(error) => return Err(error),
            };
            outgoing.push(&bytes[..count]);
        }
        let is_sent = outgoing.flush(conn)?;
        // A peer that does not read its answers is not read from.
        let interest = if is_sent { Interest::READABLE } else { Interest::WRITABLE };
        Ok((Next::Modify(interest), count))
    }

    async fn report(bytes: Rc<Cell<u64>>) {
        let mut seconds = interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            log::info!("{} bytes echoed", bytes.get());
        }
    }

    async fn pressed(ctrl_c: OwnedFd) -> io::Result<()> {
        let stream = std::os::unix::net::UnixStream::from(ctrl_c);
        stream.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(stream)?.readable().await
    }

    pub(crate) fn main() -> io::Result<()> {
        let args = Args::parse();
        common::start_log();
        let bytes = Rc::new(Cell::new(0));
        let mut event_loop = match args.backend {
            Some(backend) => EventLoop::with_backend(backend, bytes.clone())?,
            None => EventLoop::new(bytes.clone())?,
        };
        let ctrl_c = common::ctrl_c()?.into();
        let listener = TcpListener::from(common::listen(&args.addr)?);
        event_loop.accept(listener, |event_loop, conn, _| welcome(event_loop, conn))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let reporting = tokio::task::spawn_local(report(bytes));
            let result = futures_lite::future::or(drive(&mut event_loop), pressed(ctrl_c)).await;
            reporting.abort();
            result
        })
    }
}

#[cfg(unix)]
fn main() -> Result<(), common::Failure> {
    Ok(server::main()?)
}

#[cfg(not(unix))]
fn main() {
    eprintln!("no backend of this system has a descriptor");
    std::process::exit(1);
}
