//! A reactor for tasks on several threads, on a `SharedSelector`: `Async<T>` is `Send`, so it works
//! with executors and libraries that require that. `reactor.rs` is the reactor; the threads in
//! `worker.rs` run the tasks of async-executor, and wait in turn.
//!
//! Not in the documents. With `--get` it is an HTTP client: hyper's connection pool, whose futures
//! must be `Send`. Otherwise it echoes, and closes connections that are silent for too long.
//!
//! ```text
//! cargo run --example thread_reactor
//! cargo run --example thread_reactor -- --threads 4 --backend poll
//! nc localhost 10003
//! cargo run --example thread_reactor -- --get http://localhost:8080/ --times 100
//! ```

#[path = "../common/mod.rs"]
mod common;
mod http_client;
mod reactor;
mod worker;

use std::future::{Future, pending};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_executor::Executor;
use clap::Parser;
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use polyselect::Backend;
use socket2::Socket;

use reactor::{Async, READING, Reactor, Timer};
use worker::block_on;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:10003")]
    addr: String,
    /// The backend to wait with; without it, the best of this system.
    #[arg(long)]
    backend: Option<Backend>,
    /// The threads that run tasks.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Seconds of silence after which a connection is closed.
    #[arg(long, default_value_t = 60.0)]
    patience: f64,
    /// Fetch this page instead.
    #[arg(long, value_name = "URL")]
    get: Option<hyper::Uri>,
    /// The number of fetches.
    #[arg(long, default_value_t = 10)]
    times: usize,
}

/// Runs the tasks of `executor` on `threads` threads; `main` runs on this one.
fn run<R>(executor: &Arc<Executor<'static>>, threads: usize, main: impl Future<Output = R>) -> R {
    for _ in 1..threads {
        let executor = Arc::clone(executor);
        thread::spawn(move || block_on(&executor, pending::<()>()));
    }
    block_on(executor, main)
}

async fn accept(
    executor: Arc<Executor<'static>>,
    listener: Async<Socket>,
    patience: Duration,
) -> io::Result<()> {
    loop {
        match listener.when(READING, Socket::accept).await {
            Ok((socket, _addr)) => {
                socket.set_nonblocking(true)?;
                let client = Async::new(socket)?;
                executor.spawn(echo(client, patience)).detach();
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                log::warn!("no connection can be accepted for now: {error}");
                Timer::after(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Echoes until the client has sent the end, fails, or is silent for too long.
async fn echo(mut client: Async<Socket>, patience: Duration) {
    let mut bytes = [0; 4096];
    loop {
        let silence = async {
            Timer::after(patience).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        let result = match future::or(client.read(&mut bytes), silence).await {
            Ok(0) => break,
            Ok(count) => client.write_all(&bytes[..count]).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            log::info!("{}: {error}", common::peer(client.get_ref()));
            return;
        }
    }
    if let Err(error) = client.close().await {
        log::info!("{}: {error}", common::peer(client.get_ref()));
    }
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    common::start_log();
    Reactor::start(args.backend)?;
    let executor = Arc::new(Executor::new());
    if let Some(url) = args.get {
        let main = http_client::fetch(Arc::clone(&executor), url, args.times);
        return Ok(run(&executor, args.threads, main)?);
    }
    let patience = Duration::try_from_secs_f64(args.patience).map_err(io::Error::other)?;
    let ctrl_c = Async::new(common::ctrl_c()?)?;
    ctrl_c.get_ref().set_nonblocking(true)?;
    let listener = Async::new(common::listen(&args.addr)?)?;
    executor.spawn(accept(Arc::clone(&executor), listener, patience)).detach();
    let pressed =
        ctrl_c.when(READING, |socket| socket.recv(&mut [std::mem::MaybeUninit::uninit()]));
    Ok(run(&executor, args.threads, pressed).map(drop)?)
}
