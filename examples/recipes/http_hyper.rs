//! An HTTP server: hyper's connections, HTTP/1 and HTTP/2 on one port, and an axum router behind them. It ends on
//! Ctrl-C when the requests in progress are answered.
//!
//! Handlers of axum must be `Send` futures, so they cannot hold an `Async` or a sleep of `asyncio` across an `await`.
//! Blocking work by `to_thread`, channels, and sleeps of a `LoopTimer` are `Send`; a service of hyper alone, without
//! the router, may hold anything.
//!
//! ```text
//! cargo run -p polyselect-recipes --bin http_hyper -- localhost:8080
//! curl http://localhost:8080/hello/world
//! curl --http2-prior-knowledge -d 'some text' http://localhost:8080/shout
//! ```

mod failure;

use std::cell::RefCell;
use std::env;
use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use hyper::rt::Timer;
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use polyselect::asyncio::{self, Async};
use polyselect::{EventLoop, signal};
use polyselect_hyper::{LoopExecutor, LoopIo, LoopTimer};

#[derive(Clone, Default)]
struct Shared {
    requests: Arc<AtomicU64>,
    timer: LoopTimer,
}

async fn hello(State(shared): State<Shared>, Path(name): Path<String>) -> String {
    let number = shared.requests.fetch_add(1, Ordering::Relaxed) + 1;
    format!("hello, {name}, you are number {number}\n")
}

async fn shout(text: String) -> String {
    text.to_uppercase()
}

/// A file is read on another thread, because the loop must not wait for a disk.
async fn manifest() -> Result<String, StatusCode> {
    let read = || std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    let text = asyncio::to_thread(read).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    text.map_err(|_| StatusCode::NOT_FOUND)
}

async fn wait(State(shared): State<Shared>, Path(millis): Path<u64>) -> String {
    shared.timer.sleep(Duration::from_millis(millis.min(60_000))).await;
    format!("{millis} ms later\n")
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/hello/{name}", get(hello))
        .route("/shout", post(shout))
        .route("/manifest", get(manifest))
        .route("/wait/{millis}", get(wait))
        .with_state(shared)
}

async fn serve(
    stream: Async<TcpStream>,
    router: Router,
    timer: LoopTimer,
    watcher: Option<Watcher>,
) -> io::Result<()> {
    stream.get_ref().set_nodelay(true)?;
    let mut builder = Builder::new(LoopExecutor);
    // With a timer, a client has 30 seconds to send the head of its request.
    builder.http1().timer(timer.clone());
    builder.http2().timer(timer).keep_alive_interval(Some(Duration::from_secs(20)));
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(LoopIo::new(stream), service).into_owned();
    // Without a watcher the server is ending already.
    let Some(watcher) = watcher else { return Ok(()) };
    watcher.watch(connection).await.map_err(io::Error::other)
}

async fn run(host: &str, port: u16) -> io::Result<()> {
    let shared = Shared::default();
    let (router, timer) = (router(shared.clone()), shared.timer);
    let connections = Rc::new(RefCell::new(Some(GracefulShutdown::new())));
    let watched = Rc::clone(&connections);
    let handle = move |stream| {
        let watcher = watched.borrow().as_ref().map(GracefulShutdown::watcher);
        serve(stream, router.clone(), timer.clone(), watcher)
    };
    let server = asyncio::start_server_host(host, port, handle).await?;
    for address in server.local_addrs() {
        println!("listening on {address}");
    }
    let mut interrupts = asyncio::signal(signal::SIGINT)?;
    interrupts.recv().await?;
    server.close();
    // Idle connections end at once, busy ones after their answers, and all after ten seconds.
    if let Some(connections) = connections.take() {
        let _ = asyncio::timeout(Duration::from_secs(10), connections.shutdown()).await;
    }
    let cut_off = server.stop(Duration::ZERO).await;
    println!("stopped, {cut_off} connections cut off");
    Ok(())
}

fn main() -> Result<(), failure::Failure> {
    env_logger::init();
    let address = env::args().nth(1).ok_or("usage: http_hyper HOST:PORT")?;
    let (host, port) = address.rsplit_once(':').ok_or("usage: http_hyper HOST:PORT")?;
    EventLoop::new(())?.block_on(run(host, port.parse()?))??;
    Ok(())
}
