//! How servers end, and how their connections and listeners affect each other.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use polyselect::asyncio::{self, Async, Server};
use polyselect::{Backend, EventLoop, Listener};

use super::MORE_THAN_FITS;
use crate::event_loop::open;
use crate::support::*;

cases! {
    a_handler_that_panics_costs_one_connection,
    a_listener_that_fails_costs_no_connection,
    a_listener_that_panics_costs_no_connection,
    the_address_is_free_when_wait_closed_returns,
    the_address_is_free_when_stop_returns,
    the_address_is_free_when_stop_has_cut_connections_off in virtual time,
    a_connection_counts_until_its_writer_has_sent_everything,
    stop_gives_up_what_a_writer_still_has_to_send in virtual time,
    dropping_a_server_gives_up_what_a_writer_still_has_to_send in virtual time,
    dropping_a_server_and_its_loop_resets_connections_that_are_owed_bytes,
    stop_shuts_down_connections_whose_handles_are_kept_elsewhere in virtual time,
    a_server_returns_its_address,
    waiting_for_a_server_of_another_loop_is_refused in virtual time,
}

async fn echo(stream: Async<TcpStream>) -> io::Result<()> {
    let mut buffer = [0; 64];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let conn = TcpStream::connect(addr).unwrap();
    conn.set_read_timeout(Some(SURELY)).unwrap();
    conn
}

/// Whether a connection works; its peer echoes.
async fn is_echoed(conn: &Async<TcpStream>) -> bool {
    let echoed = async {
        conn.write_all(b"hello").await?;
        let mut reply = [0; 5];
        conn.read_exact(&mut reply).await?;
        io::Result::Ok(reply == *b"hello")
    };
    matches!(asyncio::timeout(SURELY, echoed).await, Ok(Ok(true)))
}

/// Keeps a server, or detaches it.
fn keep(server: Server, is_detached: bool) -> Option<Server> {
    if is_detached {
        server.detach();
        None
    } else {
        Some(server)
    }
}

fn a_handler_that_panics_costs_one_connection(backend: Backend) {
    for is_detached in [false, true] {
        let mut event_loop = open(backend, ());
        let serving = async {
            let mut count = 0;
            let server = asyncio::start_server(([127, 0, 0, 1], 0), move |stream| {
                count += 1;
                assert!(count != 2, "on purpose: before it returns a future");
                echo(stream)
            })
            .unwrap();
            let addr = server.local_addr().unwrap();
            let server = keep(server, is_detached);
            let first = Async::connect(addr).await.unwrap();
            assert!(is_echoed(&first).await);
            let second = Async::connect(addr).await.unwrap();
            assert!(matches!(second.read(&mut [0]).await, Ok(0) | Err(_)));
            let third = Async::connect(addr).await.unwrap();
            assert!(is_echoed(&first).await && is_echoed(&third).await);
            drop(server);
        };
        event_loop.block_on(asyncio::timeout(SURELY, serving)).unwrap().unwrap();
    }
}

/// Accepts one connection, and then stops accepting.
struct Once {
    listener: TcpListener,
    has_accepted: Cell<bool>,
    then: fn() -> io::Error,
}

#[cfg(unix)]
impl std::os::fd::AsFd for Once {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for Once {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.listener.as_socket()
    }
}

impl Listener for Once {
    type Connection = TcpStream;
    type Address = SocketAddr;

    fn set_nonblocking(&self) -> io::Result<()> {
        self.listener.set_nonblocking(true)
    }

    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        if self.has_accepted.get() {
            return Err((self.then)());
        }
        let accepted = Listener::accept(&self.listener)?;
        self.has_accepted.set(true);
        Ok(accepted)
    }
}

fn a_listener_that_ends(backend: Backend, then: fn() -> io::Error) {
    for is_detached in [false, true] {
        let mut event_loop = open(backend, ());
        let serving = async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let addr = listener.local_addr().unwrap();
            let listener = Once { listener, has_accepted: Cell::new(false), then };
            let server = asyncio::serve(listener, echo).unwrap();
            let server = keep(server, is_detached);
            let first = Async::connect(addr).await.unwrap();
            assert!(is_echoed(&first).await);
            // The next connection ends the accepting, and the listener is closed.
            drop(Async::connect(addr).await);
            while TcpStream::connect(addr).is_ok() {
                asyncio::yield_now().await;
            }
            assert!(is_echoed(&first).await);
            drop(first);
            if let Some(server) = server {
                let closed = asyncio::timeout(SURELY, server.wait_closed()).await;
                closed.expect("the last connection has ended").unwrap_err();
            }
        };
        event_loop.block_on(asyncio::timeout(SURELY, serving)).unwrap().unwrap();
    }
}

fn a_listener_that_fails_costs_no_connection(backend: Backend) {
    a_listener_that_ends(backend, || rustix::io::Errno::INVAL.into());
}

fn a_listener_that_panics_costs_no_connection(backend: Backend) {
    a_listener_that_ends(backend, || panic!("on purpose"));
}

fn the_address_is_free_when_wait_closed_returns(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let mut addr = SocketAddr::from((own_loopback(), 0));
            for _ in 0..5 {
                let server = asyncio::start_server(addr, echo).unwrap();
                addr = server.local_addr().unwrap();
                // With and without a wait in progress.
                asyncio::sleep(Duration::from_millis(1)).await;
                server.close();
                asyncio::timeout(SURELY, server.wait_closed()).await.unwrap().unwrap();
            }
        })
        .unwrap();
}

fn the_address_is_free_when_stop_returns(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let mut addr = SocketAddr::from((own_loopback(), 0));
            for grace in [SURELY, Duration::ZERO, SURELY, Duration::ZERO] {
                let server = asyncio::start_server(addr, echo).unwrap();
                addr = server.local_addr().unwrap();
                asyncio::sleep(Duration::from_millis(1)).await;
                assert_eq!(server.stop(grace).await, 0);
            }
        })
        .unwrap();
}

fn the_address_is_free_when_stop_has_cut_connections_off(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let server = asyncio::start_server((own_loopback(), 0), echo).unwrap();
            let addr = server.local_addr().unwrap();
            let clients: Vec<_> = (0..3).map(|_| connect(addr)).collect();
            while server.connections() < clients.len() {
                asyncio::yield_now().await;
            }
            assert_eq!(server.stop(A_WHILE).await, 3);
            assert_eq!(server.connections(), 0);
            let again = asyncio::start_server(addr, echo).unwrap();
            assert!(is_echoed(&Async::connect(addr).await.unwrap()).await);
            drop((again, clients));
        })
        .unwrap();
}

/// A server whose connections owe their client more than fits, before or after the end of their
/// task.
fn owing(is_task_ended: bool) -> Server {
    let serve = asyncio::start_server(([127, 0, 0, 1], 0), move |stream| async move {
        let (_reader, mut writer) = stream.split();
        writer.write(&vec![7; MORE_THAN_FITS])?;
        if is_task_ended { Ok(()) } else { writer.drain().await }
    });
    serve.unwrap()
}

async fn until_it_owes(server: &Server) -> TcpStream {
    let client = connect(server.local_addr().unwrap());
    // The bytes that fit have arrived, so the rest is queued.
    client.set_nonblocking(true).unwrap();
    while client.peek(&mut [0; 1]).is_err() {
        asyncio::yield_now().await;
    }
    client.set_nonblocking(false).unwrap();
    asyncio::yield_now().await;
    client
}

/// Reads until the connection ends, and expects a reset.
fn expect_reset(mut client: TcpStream) {
    let mut got = Vec::new();
    let error = client.read_to_end(&mut got).expect_err("this is not the end of a whole message");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(got.len() < MORE_THAN_FITS);
}

fn a_connection_counts_until_its_writer_has_sent_everything(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let server = owing(true);
            let mut client = until_it_owes(&server).await;
            assert_eq!(server.connections(), 1);
            let reading = std::thread::spawn(move || client.read_to_end(&mut Vec::new()));
            assert_eq!(server.stop(SURELY).await, 0);
            assert_eq!(reading.join().unwrap().unwrap(), MORE_THAN_FITS);
        })
        .unwrap();
}

fn stop_gives_up_what_a_writer_still_has_to_send(backend: Backend) {
    for is_task_ended in [false, true] {
        let mut event_loop = open(backend, ());
        let client = event_loop
            .block_on(async {
                let server = owing(is_task_ended);
                let client = until_it_owes(&server).await;
                assert_eq!((server.stop(A_WHILE).await, server.connections()), (1, 0));
                client
            })
            .unwrap();
        run_ends_at_once(&mut event_loop);
        expect_reset(client);
    }
}

fn run_ends_at_once(event_loop: &mut EventLoop) {
    let start = Instant::now();
    event_loop.run().unwrap();
    assert!(start.elapsed() < SURELY);
    assert_eq!(event_loop.stats().tasks, 0);
}

fn dropping_a_server_gives_up_what_a_writer_still_has_to_send(backend: Backend) {
    for is_task_ended in [false, true] {
        let mut event_loop = open(backend, ());
        let client = event_loop
            .block_on(async {
                let server = owing(is_task_ended);
                until_it_owes(&server).await
            })
            .unwrap();
        run_ends_at_once(&mut event_loop);
        expect_reset(client);
    }
}

fn dropping_a_server_and_its_loop_resets_connections_that_are_owed_bytes(backend: Backend) {
    for (is_task_ended, is_detached) in [(false, false), (false, true), (true, false), (true, true)]
    {
        let mut event_loop = open(backend, ());
        let (server, client) = event_loop
            .block_on(async {
                let server = owing(is_task_ended);
                let client = until_it_owes(&server).await;
                (keep(server, is_detached), client)
            })
            .unwrap();
        drop(server);
        drop(event_loop);
        expect_reset(client);
    }
}

fn stop_shuts_down_connections_whose_handles_are_kept_elsewhere(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let table = Rc::new(RefCell::new(Vec::new()));
            let server = {
                let table = Rc::clone(&table);
                asyncio::start_server(([127, 0, 0, 1], 0), move |stream| {
                    table.borrow_mut().push(stream.clone());
                    echo(stream)
                })
                .unwrap()
            };
            let mut client = connect(server.local_addr().unwrap());
            while table.borrow().is_empty() {
                asyncio::yield_now().await;
            }
            assert_eq!((server.stop(A_WHILE).await, server.connections()), (1, 0));
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            let kept = table.borrow_mut().pop().unwrap();
            let error = asyncio::timeout(SURELY, kept.readable()).await.unwrap();
            let read = asyncio::timeout(SURELY, kept.read(&mut [0])).await.unwrap();
            assert!(error.is_err() || matches!(read, Ok(0)), "{error:?} {read:?}");
        })
        .unwrap();
}

fn a_server_returns_its_address(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            for host in ["127.0.0.1:0", "[::1]:0"] {
                let Ok(listener) = TcpListener::bind(host) else { continue };
                let addr = listener.local_addr().unwrap();
                let server = asyncio::serve(listener, echo).unwrap();
                assert_eq!(server.local_addr(), Some(addr));
            }
        })
        .unwrap();
}

fn waiting_for_a_server_of_another_loop_is_refused(backend: Backend) {
    let (mut first, mut second) = (open(backend, ()), open(backend, ()));
    let server = first
        .block_on(async { asyncio::start_server(([127, 0, 0, 1], 0), echo).unwrap() })
        .unwrap();
    let mut client = connect(server.local_addr().unwrap());
    client.write_all(b"!").unwrap();
    first.block_on(asyncio::sleep(A_WHILE)).unwrap();
    let error = second.block_on(server.wait_closed()).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    // It closes what it can; the rest is closed in the server's own loop.
    assert_eq!(second.block_on(server.stop(Duration::ZERO)).unwrap(), 1);
    first.block_on(asyncio::timeout(SURELY, server.wait_closed())).unwrap().unwrap().unwrap();
}
