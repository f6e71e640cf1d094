//! Servers on the loop, on every backend, and clients that others have written: curl, node's HTTP/2, wrk. A client
//! that is not installed is listed as ignored.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Command, ExitCode, Stdio};
use std::rc::Rc;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use polyselect::asyncio::{self, Async};
use polyselect::{Backend, EventLoop};
use polyselect_hyper::{LoopExecutor, LoopIo, LoopTimer};

type Reply = Response<BoxBody<Bytes, hyper::Error>>;

#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

/// Sends back what is posted, as it comes, and greets otherwise. It holds an `Rc`, and so is not `Send`.
async fn reply(greeting: Rc<str>, request: Request<Incoming>) -> Result<Reply, Infallible> {
    if *request.method() == Method::POST {
        return Ok(Response::new(request.into_body().boxed()));
    }
    let text = format!("{greeting}, {}\n", request.uri().path());
    Ok(Response::new(Full::from(text).map_err(|never| match never {}).boxed()))
}

async fn serve(
    protocol: Protocol,
    stream: Async<std::net::TcpStream>,
    timer: LoopTimer,
) -> io::Result<()> {
    stream.get_ref().set_nodelay(true)?;
    let greeting: Rc<str> = "hello".into();
    let service = service_fn(move |request| reply(Rc::clone(&greeting), request));
    let io = LoopIo::new(stream);
    let served = match protocol {
        Protocol::Http1 => http1::Builder::new().timer(timer).serve_connection(io, service).await,
        Protocol::Http2 => {
            http2::Builder::new(LoopExecutor).timer(timer).serve_connection(io, service).await
        }
    };
    served.map_err(io::Error::other)
}

/// Serves on a loop of this thread while `client` runs on another.
fn with_server<R: Send + 'static>(
    backend: Backend,
    protocol: Protocol,
    client: impl FnOnce(SocketAddr) -> R + Send + 'static,
) -> R {
    let mut event_loop = EventLoop::with_backend(backend, ()).expect("opens");
    let result = event_loop.block_on(async {
        let timer = LoopTimer::new();
        let handle = move |stream| serve(protocol, stream, timer.clone());
        let server = asyncio::start_server(([127, 0, 0, 1], 0), handle).expect("listens");
        let addr = server.local_addr().expect("is TCP");
        asyncio::to_thread(move || client(addr)).await.expect("the client does not panic")
    });
    result.expect("the loop runs")
}

fn is_installed(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// Runs a client with `input` and returns its output.
fn run(client: &mut Command, input: &[u8]) -> Result<Vec<u8>, Failed> {
    let piped = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn()?;
    let mut stdin = child.stdin.take().ok_or("a pipe")?;
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    // A client that fails may not have read its input.
    let _ = writer.join().map_err(|_| "the writer has panicked")?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

fn curl(protocol: Protocol) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "60", "--noproxy", "*"]);
    curl.arg(match protocol {
        Protocol::Http1 => "--http1.1",
        Protocol::Http2 => "--http2-prior-knowledge",
    });
    curl
}

fn curl_fetches_pages(backend: Backend, protocol: Protocol) -> Result<Completion, Failed> {
    with_server(backend, protocol, move |addr| {
        let urls = ["one", "two", "three"].map(|page| format!("http://{addr}/{page}"));
        let output = match protocol {
            Protocol::Http1 => run(curl(protocol).args(urls), b"")?,
            // curl 7.88 fails, with any server, when it uses such a connection again.
            Protocol::Http2 => {
                let fetch = |url| run(curl(protocol).arg(url), b"");
                urls.into_iter().map(fetch).collect::<Result<Vec<_>, _>>()?.concat()
            }
        };
        assert_eq!(String::from_utf8(output)?, "hello, /one\nhello, /two\nhello, /three\n");
        Ok(Completion::Completed)
    })
}

fn curl_gets_megabytes_back(backend: Backend, protocol: Protocol) -> Result<Completion, Failed> {
    with_server(backend, protocol, move |addr| {
        let sent: Vec<u8> = (0..5_000_000).map(|index| (index % 251) as u8).collect();
        let url = format!("http://{addr}/");
        // Without `Expect`, the body is sent at once.
        let mut curl = curl(protocol);
        let received = run(curl.args(["-H", "Expect:", "--data-binary", "@-"]).arg(url), &sent)?;
        assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
        Ok(Completion::Completed)
    })
}

/// 200 requests at the same time, as streams of one connection.
const NODE: &str = r"
const http2 = require('node:http2');
const session = http2.connect(process.argv[1]);
session.on('error', (error) => { console.error(error); process.exit(1); });
const fetch = (path) => new Promise((resolve, reject) => {
    const stream = session.request({ ':path': path, ':method': path.endsWith('7') ? 'POST' : 'GET' });
    let text = '';
    stream.setEncoding('utf8');
    stream.on('data', (piece) => { text += piece; });
    stream.on('end', () => resolve(text));
    stream.on('error', reject);
    stream.end(path.endsWith('7') ? 'x'.repeat(20000) : undefined);
});
const numbers = [...Array(200).keys()];
Promise.all(numbers.map((n) => fetch(`/${n}`))).then((texts) => {
    const isRight = (text, n) => text === (n % 10 === 7 ? 'x'.repeat(20000) : `hello, /${n}\n`);
    console.log(texts.filter(isRight).length);
    session.close();
}, (error) => { console.error(error); process.exit(1); });
";

fn node_has_many_streams(backend: Backend, protocol: Protocol) -> Result<Completion, Failed> {
    if !is_installed("node") {
        return Ok(Completion::ignored_with("node is not installed"));
    }
    with_server(backend, protocol, |addr| {
        let output = run(Command::new("node").args(["-e", NODE, &format!("http://{addr}")]), b"")?;
        assert_eq!(String::from_utf8(output)?, "200\n");
        Ok(Completion::Completed)
    })
}

fn wrk_sees_no_error(backend: Backend, protocol: Protocol) -> Result<Completion, Failed> {
    if !is_installed("wrk") {
        return Ok(Completion::ignored_with("wrk is not installed"));
    }
    with_server(backend, protocol, |addr| {
        let url = format!("http://{addr}/");
        let output = run(Command::new("wrk").args(["-t1", "-c50", "-d1s", &url]), b"")?;
        let output = String::from_utf8(output)?;
        assert!(!output.contains("Socket errors") && !output.contains("Non-2xx"), "{output}");
        Ok(Completion::Completed)
    })
}

/// The headers must come in time; a client that sends none is closed by the timer.
fn a_silent_client_is_closed(backend: Backend, _: Protocol) -> Result<Completion, Failed> {
    let mut event_loop = EventLoop::with_backend(backend, ())?;
    event_loop.block_on(async {
        let server = asyncio::start_server(([127, 0, 0, 1], 0), |stream| async move {
            let patience = std::time::Duration::from_millis(20);
            let service = service_fn(|request| reply("hello".into(), request));
            let mut builder = http1::Builder::new();
            builder.timer(LoopTimer::new()).header_read_timeout(patience);
            builder.serve_connection(LoopIo::new(stream), service).await.map_err(io::Error::other)
        })?;
        let client = Async::connect(server.local_addr().ok_or("TCP")?).await?;
        client.write_all(b"GET / HTTP/1.1\r\n").await?;
        let mut end = Vec::new();
        while client.read_buf(&mut end).await? > 0 {}
        Ok(Completion::Completed)
    })?
}

type Test = fn(Backend, Protocol) -> Result<Completion, Failed>;

fn main() -> ExitCode {
    use Protocol::{Http1, Http2};

    let mut arguments = Arguments::from_args();
    // Each client has a process of its own, and a loop.
    arguments.test_threads.get_or_insert(2);
    let has_curl = is_installed("curl");
    let needs_curl: &[(&str, Test, Protocol)] = &[
        ("curl_fetches_pages_by_http1", curl_fetches_pages, Http1),
        ("curl_fetches_pages_by_http2", curl_fetches_pages, Http2),
        ("curl_gets_megabytes_back_by_http1", curl_gets_megabytes_back, Http1),
        ("curl_gets_megabytes_back_by_http2", curl_gets_megabytes_back, Http2),
    ];
    let others: &[(&str, Test, Protocol)] = &[
        ("node_has_many_streams_in_one_connection", node_has_many_streams, Http2),
        ("wrk_sees_no_error", wrk_sees_no_error, Http1),
        ("a_client_that_sends_no_headers_is_closed_in_time", a_silent_client_is_closed, Http1),
    ];
    let mut trials = Vec::new();
    for backend in Backend::available() {
        for &(name, test, protocol) in needs_curl {
            let run = move || match has_curl {
                true => test(backend, protocol),
                false => Ok(Completion::ignored_with("curl is not installed")),
            };
            trials.push(Trial::ignorable_test(format!("{backend}::{name}"), run));
        }
        for &(name, test, protocol) in others {
            let run = move || test(backend, protocol);
            trials.push(Trial::ignorable_test(format!("{backend}::{name}"), run));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
