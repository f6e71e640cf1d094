//! hyper's HTTP/1 server on the event loop, beside the same server on tokio's `current_thread`.
//!
//! ```text
//! cargo bench -p polyselect-benches --bench hyper
//! cargo bench -p polyselect-benches --bench hyper -- --connections 1000
//! ```
//!
//! The figure is the CPU time of the server's thread, user and system, per request. The clients are blocking
//! sockets of another thread: it sends a request by each connection and then reads all replies, so that the server
//! finds many connections ready at once. `loop, timer` also gives each head of a request a time limit, as `tokio,
//! timer` does. The instructions are those of the whole process in user space, as callgrind counts them.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use clap::Parser;
use futures_lite::future;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use polyselect::{EventLoop, asyncio};
use polyselect_benches::{Common, Report, alternate, instructions};
use polyselect_hyper::{LoopIo, LoopTimer};
use rustix::time::{ClockId, clock_gettime};

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Requests of each connection in each run.
    #[arg(long, default_value_t = 500)]
    requests: u64,
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Count instructions too.
    #[arg(long)]
    instructions: bool,
    /// Run one contestant and print nothing.
    #[arg(long, hide = true)]
    once: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Serves until the sender of stops is dropped; first sends the address.
type Serve = fn(&Sender<SocketAddr>, &async_channel::Receiver<()>) -> io::Result<()>;

struct Contestant {
    name: &'static str,
    serve: Serve,
}

const CONTESTANTS: &[Contestant] = &[
    Contestant { name: "tokio", serve: |ready, stop| on_tokio(ready, stop, false) },
    Contestant { name: "loop", serve: |ready, stop| on_loop(ready, stop, false) },
    Contestant { name: "tokio, timer", serve: |ready, stop| on_tokio(ready, stop, true) },
    Contestant { name: "loop, timer", serve: |ready, stop| on_loop(ready, stop, true) },
];

async fn reply(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"hello, world"))))
}

fn on_loop(
    ready: &Sender<SocketAddr>,
    stop: &async_channel::Receiver<()>,
    has_timer: bool,
) -> io::Result<()> {
    EventLoop::new(())?.block_on(async {
        let timer = LoopTimer::new();
        let server = asyncio::start_server(([127, 0, 0, 1], 0), move |stream| {
            let timer = timer.clone();
            async move {
                stream.get_ref().set_nodelay(true)?;
                let mut builder = Builder::new();
                if has_timer {
                    builder.timer(timer);
                }
                let served = builder.serve_connection(LoopIo::new(stream), service_fn(reply));
                served.await.map_err(io::Error::other)
            }
        })?;
        ready.send(server.local_addr().expect("is TCP")).map_err(io::Error::other)?;
        let _ = stop.recv().await;
        Ok(())
    })?
}

fn on_tokio(
    ready: &Sender<SocketAddr>,
    stop: &async_channel::Receiver<()>,
    has_timer: bool,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        ready.send(listener.local_addr()?).map_err(io::Error::other)?;
        loop {
            let accepted = async { listener.accept().await.map(Some) };
            let stopped = async {
                let _ = stop.recv().await;
                Ok(None)
            };
            let Some((stream, _)) = future::or(accepted, stopped).await? else { return Ok(()) };
            stream.set_nodelay(true)?;
            let mut builder = Builder::new();
            if has_timer {
                builder.timer(TokioTimer::new());
            }
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(reply)));
        }
    })
}

fn thread_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// Sends the requests of all connections, and reads the replies.
fn talk(connections: &mut [TcpStream], requests: u64) -> io::Result<()> {
    const REQUEST: &[u8] = b"GET /hello HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\n\r\n";

    let mut reply = [0; 4096];
    for _ in 0..requests {
        for connection in &mut *connections {
            connection.write_all(REQUEST)?;
        }
        for connection in &mut *connections {
            let mut length = 0;
            while !reply[..length].ends_with(b"hello, world") {
                match connection.read(&mut reply[length..])? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => length += count,
                }
            }
        }
    }
    Ok(())
}

/// Returns the nanoseconds of the server's thread for each request.
fn run(contestant: &Contestant, args: &Args) -> io::Result<[f64; 1]> {
    let (ready, address) = channel();
    let (stopper, stop) = async_channel::bounded(1);
    let serve = contestant.serve;
    // valgrind does not map what rustix's clock is read from, and needs no clock.
    let time: fn() -> Duration = if args.once.is_some() { Duration::default } else { thread_time };
    let server = thread::spawn(move || serve(&ready, &stop).map(|()| time()));
    let address = address.recv().map_err(io::Error::other)?;
    let connect = |_| {
        let connection = TcpStream::connect(address)?;
        connection.set_nodelay(true)?;
        Ok(connection)
    };
    let mut connections = (0..args.connections).map(connect).collect::<io::Result<Vec<_>>>()?;
    talk(&mut connections, args.requests)?;
    stopper.close();
    let time = server.join().expect("does not panic")?;
    let requests = args.requests * connections.len() as u64;
    Ok([time.as_nanos() as f64 / requests as f64])
}

/// Returns the instructions of a request: the difference of a longer and a shorter run.
fn count(contestant: &Contestant, connections: usize) -> io::Result<Option<f64>> {
    let total = |requests: u64| {
        let arguments = [
            format!("--once={}", contestant.name),
            format!("--connections={connections}"),
            format!("--requests={requests}"),
        ];
        instructions(&arguments)
    };
    let (Some(short), Some(long)) = (total(20)?, total(120)?) else { return Ok(None) };
    Ok(Some((long - short) as f64 / (100 * connections) as f64))
}

fn main() -> io::Result<()> {
    let mut args = Args::parse();
    if args.common.quick {
        (args.connections, args.requests, args.rounds) = (10, 20, 1);
    }
    if let Some(name) = &args.once {
        let contestant = CONTESTANTS.iter().find(|contestant| contestant.name == name);
        return run(contestant.expect("is one of them"), &args).map(drop);
    }
    let chosen = args.common.choose(CONTESTANTS, |contestant| contestant.name)?;
    let mut report = Report::new("hyper", &args.common)?;
    let mut runs: Vec<_> = chosen.iter().map(|contestant| || run(contestant, &args)).collect();
    let results = alternate(args.rounds, &mut runs)?;
    println!("\n{} connections, {} requests each", args.connections, args.requests);
    let settings = [("connections", args.connections as u64)];
    let names = chosen.iter().map(|contestant| contestant.name);
    report.table(&settings, &[("CPU time", "ns a request")], names.zip(results))?;
    if args.instructions {
        for contestant in chosen {
            match count(contestant, args.connections)? {
                Some(figure) => {
                    println!("{:16}  {figure:.0} instructions a request", contestant.name);
                }
                None => println!("skipped the instructions: valgrind is not installed"),
            }
        }
    }
    Ok(())
}
