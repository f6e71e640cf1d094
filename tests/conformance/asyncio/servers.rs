//! Listeners and servers in tasks.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use polyselect::Backend;
use polyselect::asyncio::{self, Async, Server};

use crate::event_loop::open;
use crate::support::*;

cases! {
    a_listener_is_a_stream_of_connections,
    accept_waits_for_a_connection,
    #[cfg(unix)]
    a_listener_rests_when_descriptors_run_out,
    a_server_serves_many_clients_at_once,
    a_graceful_stop_lets_those_at_work_finish,
    a_graceful_stop_ends_those_who_take_too_long in virtual time,
    no_connection_is_accepted_after_close in virtual time,
    at_the_limit_clients_wait_until_a_connection_ends in virtual time,
    a_limit_may_be_lowered_raised_and_zero in virtual time,
    a_server_at_its_limit_can_be_stopped in virtual time,
    a_server_at_its_limit_lets_the_loop_sleep in virtual time,
    an_error_or_a_panic_ends_only_its_connection,
    the_log_of_a_failed_connection_names_its_peer,
    dropping_a_server_ends_it_immediately,
    a_detached_server_goes_on,
    #[cfg(unix)]
    unix_listeners_can_be_served,
}

async fn echo(stream: Async<TcpStream>) -> std::io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

fn start() -> Server {
    asyncio::start_server(([127, 0, 0, 1], 0), echo).unwrap()
}

async fn until_at_work(server: &Server, connections: usize) {
    while server.connections() < connections {
        asyncio::yield_now().await;
    }
}

fn connect(server: &Server) -> TcpStream {
    let conn = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    conn.set_read_timeout(Some(SURELY)).unwrap();
    conn
}

fn a_listener_is_a_stream_of_connections(backend: Backend) {
    let mut event_loop = open(backend, ());
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    let listener = Async::new(listener).unwrap();
    let accepting = async {
        let mut incoming = listener.incoming();
        let mut addresses = Vec::new();
        for _ in 0..clients.len() {
            let (_conn, addr) = incoming.next().await.unwrap().unwrap();
            addresses.push(addr);
        }
        addresses
    };
    let addresses = event_loop.block_on(asyncio::timeout(SURELY, accepting)).unwrap().unwrap();
    assert!(clients.iter().map(|client| client.local_addr().unwrap()).eq(addresses));
}

fn accept_waits_for_a_connection(backend: Backend) {
    let mut event_loop = open(backend, ());
    let listener = Async::new(TcpListener::bind(("127.0.0.1", 0)).unwrap()).unwrap();
    let address = listener.get_ref().local_addr().unwrap();
    for _ in 0..3 {
        event_loop.block_on(asyncio::timeout(A_WHILE, listener.accept())).unwrap().unwrap_err();
        let client = thread::spawn(move || TcpStream::connect(address).unwrap());
        let accepted = event_loop.block_on(asyncio::timeout(SURELY, listener.accept()));
        let (conn, addr) = accepted.unwrap().unwrap().unwrap();
        let client = client.join().unwrap();
        assert_eq!(addr, client.local_addr().unwrap());
        // A blocking socket would hang here.
        let error = conn.get_ref().read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

#[cfg(unix)]
fn a_listener_rests_when_descriptors_run_out(backend: Backend) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let mut event_loop = open(backend, ());
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = Async::new(listener).unwrap();
    let first = TcpStream::connect(address).unwrap();
    let (conn, _) = event_loop.block_on(listener.accept()).unwrap().unwrap();
    event_loop
        .block_on(asyncio::timeout(A_WHILE, listener.accept()))
        .unwrap()
        .map(drop)
        .unwrap_err();
    let second = TcpStream::connect(address).unwrap();
    // This descriptor is the lowest that is free; from now on none is.
    let next = second.try_clone().unwrap();
    let number = rustix::fd::AsRawFd::as_raw_fd(&next) as u64;
    drop(next);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(number), maximum: limit.maximum }).unwrap();
    let mut incoming = listener.incoming();
    let (used, passed) = processor_time(|| {
        let next = asyncio::timeout(10 * A_WHILE, incoming.next());
        event_loop.block_on(next).unwrap().map(drop).unwrap_err();
    });
    assert!(used < passed / 2, "{used:?} of {passed:?}");
    setrlimit(Resource::Nofile, limit).unwrap();
    let next = event_loop.block_on(asyncio::timeout(SURELY, incoming.next()));
    let (_, addr) = next.unwrap().unwrap().unwrap().unwrap();
    assert_eq!(addr, second.local_addr().unwrap());
    drop((first, conn));
}

fn a_server_serves_many_clients_at_once(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let server = start();
            let address = server.local_addr().unwrap();
            let clients: Vec<_> = (0..100_u8)
                .map(|number| {
                    asyncio::spawn(async move {
                        let conn = Async::connect(address).await?;
                        for round in 0..20_u8 {
                            let message = [number ^ round; 700];
                            conn.write_all(&message).await?;
                            let mut reply = [0; 700];
                            conn.read_exact(&mut reply).await?;
                            assert_eq!(reply, message);
                        }
                        std::io::Result::Ok(())
                    })
                })
                .collect();
            for client in clients {
                client.await.unwrap().unwrap();
            }
            assert_eq!(server.stop(SURELY).await, 0);
        })
        .unwrap();
}

fn a_graceful_stop_lets_those_at_work_finish(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let server = Rc::new(start());
            let client = Async::new(connect(&server)).unwrap();
            until_at_work(&server, 1).await;
            let start = Instant::now();
            let stopping = asyncio::spawn({
                let server = Rc::clone(&server);
                async move { server.stop(SURELY).await }
            });
            while TcpStream::connect(server.local_addr().unwrap()).is_ok() {
                asyncio::yield_now().await;
            }
            assert!(!stopping.is_finished());
            client.write_all(b"last words").await.unwrap();
            let mut reply = [0; 10];
            client.read_exact(&mut reply).await.unwrap();
            assert_eq!(&reply, b"last words");
            assert!(!stopping.is_finished());
            drop(client);
            assert_eq!(stopping.await.unwrap(), 0);
            assert!(start.elapsed() < SURELY);
        })
        .unwrap();
}

fn a_graceful_stop_ends_those_who_take_too_long(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let server = start();
            let mut clients: Vec<_> = (0..3).map(|_| connect(&server)).collect();
            until_at_work(&server, 3).await;
            let start = now();
            assert_eq!(server.stop(A_WHILE).await, 3);
            assert!((A_WHILE..SURELY).contains(&(now() - start)));
            assert_eq!(server.connections(), 0);
            for client in &mut clients {
                assert!(matches!(client.read(&mut [0]), Ok(0)));
            }
        })
        .unwrap();
}

fn no_connection_is_accepted_after_close(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let server = start();
            let address = server.local_addr().unwrap();
            let mut at_work = connect(&server);
            until_at_work(&server, 1).await;
            server.close();
            asyncio::yield_now().await;
            let error = TcpStream::connect(address).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            at_work.write_all(b"still here").unwrap();
            let closed = server.wait_closed();
            asyncio::timeout(A_WHILE, closed).await.unwrap_err();
            let mut reply = [0; 10];
            at_work.read_exact(&mut reply).unwrap();
            drop(at_work);
            asyncio::timeout(SURELY, server.serve_forever()).await.unwrap().unwrap();
        })
        .unwrap();
}

/// Waits until the server has this number of connections, and no more after a while.
async fn settles_at(server: &Server, connections: usize) {
    let settled = async {
        while server.connections() != connections {
            asyncio::sleep(Duration::from_millis(1)).await;
        }
        asyncio::sleep(A_WHILE).await;
        assert_eq!(server.connections(), connections);
    };
    asyncio::timeout(SURELY, settled).await.expect("it settles");
}

fn at_the_limit_clients_wait_until_a_connection_ends(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let server = start();
            server.set_max_connections(2);
            let addr = server.local_addr().unwrap();
            let mut clients: Vec<_> = (0..5).map(|_| TcpStream::connect(addr).unwrap()).collect();
            while !clients.is_empty() {
                settles_at(&server, clients.len().min(2)).await;
                drop(clients.remove(0));
            }
            settles_at(&server, 0).await;
        })
        .unwrap();
}

fn a_limit_may_be_lowered_raised_and_zero(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let server = start();
            let addr = server.local_addr().unwrap();
            let mut clients: Vec<_> = (0..3).map(|_| TcpStream::connect(addr).unwrap()).collect();
            settles_at(&server, 3).await;
            server.set_max_connections(1);
            clients.push(TcpStream::connect(addr).unwrap());
            settles_at(&server, 3).await;
            drop(clients.remove(0));
            settles_at(&server, 2).await;
            server.set_max_connections(3);
            settles_at(&server, 3).await;
            server.set_max_connections(0);
            clients.clear();
            clients.push(TcpStream::connect(addr).unwrap());
            settles_at(&server, 0).await;
            server.set_max_connections(usize::MAX);
            settles_at(&server, 1).await;
        })
        .unwrap();
}

fn a_server_at_its_limit_can_be_stopped(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            for (limit, cut_off) in [(0, 0), (1, 1)] {
                let server = start();
                server.set_max_connections(limit);
                let addr = server.local_addr().unwrap();
                let _clients: Vec<_> = (0..2).map(|_| TcpStream::connect(addr).unwrap()).collect();
                settles_at(&server, limit).await;
                let stopped = asyncio::timeout(SURELY, server.stop(A_WHILE)).await;
                assert_eq!(stopped.expect("it stops"), cut_off);
            }
        })
        .unwrap();
}

fn a_server_at_its_limit_lets_the_loop_sleep(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (server, _clients) = event_loop
        .block_on(async {
            let server = start();
            server.set_max_connections(1);
            let addr = server.local_addr().unwrap();
            let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(addr).unwrap()).collect();
            settles_at(&server, 1).await;
            (server, clients)
        })
        .unwrap();
    let before = event_loop.stats().turns;
    event_loop.block_on(asyncio::sleep(A_WHILE)).unwrap();
    assert!(event_loop.stats().turns - before < 10, "clients in the backlog wake nothing");
    drop(server);
}

fn an_error_or_a_panic_ends_only_its_connection(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let served = Rc::new(Cell::new(0));
            let server = {
                let served = Rc::clone(&served);
                asyncio::start_server(([127, 0, 0, 1], 0), move |stream| {
                    served.set(served.get() + 1);
                    let number = served.get();
                    async move {
                        match number {
                            1 => Err(ErrorKind::InvalidData.into()),
                            2 => panic!("on purpose"),
                            _ => echo(stream).await,
                        }
                    }
                })
                .unwrap()
            };
            let mut clients: Vec<_> = (0..3).map(|_| connect(&server)).collect();
            clients[2].write_all(b"!").unwrap();
            while served.get() < 3 {
                asyncio::yield_now().await;
            }
            for _ in 0..3 {
                asyncio::yield_now().await;
            }
            assert_eq!(server.connections(), 1);
            assert_eq!(clients[0].read(&mut [0]).unwrap(), 0);
            assert_eq!(clients[1].read(&mut [0]).unwrap(), 0);
            clients[2].read_exact(&mut [0]).unwrap();
        })
        .unwrap();
}

fn the_log_of_a_failed_connection_names_its_peer(backend: Backend) {
    keep_records();
    let mut event_loop = open(backend, ());
    let peer = event_loop
        .block_on(async {
            let server = asyncio::start_server(([127, 0, 0, 1], 0), |stream| async move {
                stream.read(&mut [0]).await.map(drop)
            })
            .unwrap();
            let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
            let peer = client.local_addr().unwrap();
            until_at_work(&server, 1).await;
            reset(client);
            while server.connections() > 0 {
                asyncio::sleep(Duration::from_millis(1)).await;
            }
            peer
        })
        .unwrap();
    let records = take_records();
    assert!(records.len() == 1 && records[0].contains(&format!("from {peer}")), "{records:?}");
}

fn dropping_a_server_ends_it_immediately(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let server = start();
            let (mut client, address) = (connect(&server), server.local_addr().unwrap());
            until_at_work(&server, 1).await;
            drop(server);
            asyncio::yield_now().await;
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            TcpStream::connect(address).unwrap_err();
        })
        .unwrap();
    event_loop.run().unwrap();
}

fn a_detached_server_goes_on(backend: Backend) {
    let mut event_loop = open(backend, ());
    let address = event_loop
        .block_on(async {
            let server = start();
            let address = server.local_addr().unwrap();
            server.detach();
            address
        })
        .unwrap();
    event_loop
        .block_on(async {
            let conn = Async::connect(address).await.unwrap();
            conn.write_all(b"hello").await.unwrap();
            let mut reply = [0; 5];
            let reading = asyncio::timeout(SURELY, conn.read_exact(&mut reply));
            reading.await.unwrap().unwrap();
        })
        .unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
}

#[cfg(unix)]
fn unix_listeners_can_be_served(backend: Backend) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut event_loop = open(backend, ());
    event_loop
        .block_on(async {
            let server = asyncio::serve(listener, |stream| async move {
                let (mut reader, mut writer) = stream.split();
                let line = reader.read_line().await?.to_vec();
                writer.write(&line)?;
                writer.close().await
            })
            .unwrap();
            assert!(server.local_addr().is_none());
            let (mut reader, mut writer) = Async::connect_path(&path).await.unwrap().split();
            writer.write(b"hello\n").unwrap();
            let line = asyncio::timeout(SURELY, reader.read_line()).await.unwrap();
            assert_eq!(line.unwrap(), b"hello\n");
            let error = Async::connect_path(path.with_extension("missing")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
        })
        .unwrap();
}
