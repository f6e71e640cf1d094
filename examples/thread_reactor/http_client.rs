//! hyper's connection pool on this reactor: a connector, a stream and an executor, all of them
//! `Send`.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use async_executor::Executor;
use futures_io::{AsyncRead, AsyncWrite};
use http_body_util::{BodyExt, Empty};
use hyper::Uri;
use hyper::body::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use socket2::{Domain, Socket, Type};
use tower_service::Service;

use crate::common;
use crate::reactor::{Async, WRITING};

/// Fetches a page several times at once, and prints the statuses and how many connections it took.
pub(crate) async fn fetch(
    executor: Arc<Executor<'static>>,
    url: Uri,
    times: usize,
) -> io::Result<()> {
    let connector = Connector::default();
    let connections = Arc::clone(&connector.connections);
    let client: Client<_, Empty<Bytes>> =
        Client::builder(Spawn(Arc::clone(&executor))).build(connector);
    // Four tasks at a time: each connection of the pool serves many requests.
    let tasks: Vec<_> = (0..4)
        .map(|part| {
            let (client, url) = (client.clone(), url.clone());
            executor.spawn(async move {
                let mut bytes = 0;
                let mut statuses = HashSet::new();
                for _ in (part..times).step_by(4) {
                    let response = client.get(url.clone()).await.map_err(io::Error::other)?;
                    statuses.insert(response.status());
                    let body = response.into_body().collect().await.map_err(io::Error::other)?;
                    bytes += body.to_bytes().len();
                }
                io::Result::Ok((statuses, bytes))
            })
        })
        .collect();
    let (mut statuses, mut bytes) = (HashSet::new(), 0);
    for task in tasks {
        let (these, more) = task.await?;
        statuses.extend(these);
        bytes += more;
    }
    let connections = connections.load(Ordering::Relaxed);
    log::info!("{times} requests, {bytes} bytes, {statuses:?}, {connections} connections");
    Ok(())
}

/// Lets hyper spawn tasks.
#[derive(Clone)]
struct Spawn(Arc<Executor<'static>>);

impl<F> hyper::rt::Executor<F> for Spawn
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future).detach();
    }
}

/// Opens connections, and counts them. It blocks while a name is looked up.
#[derive(Clone, Default)]
struct Connector {
    connections: Arc<AtomicUsize>,
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let host =
                url.host().ok_or_else(|| io::Error::other(format!("{url} names no host")))?;
            let address = common::resolve(&format!("{host}:{}", url.port_u16().unwrap_or(80)))?;
            let socket =
                Socket::new(Domain::from(i32::from(address.family())), Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            if let Err(error) = socket.connect(&address)
                && !is_under_way(&error)
            {
                return Err(error);
            }
            let socket = Async::new(socket)?;
            let is_connected = |socket: &Socket| match socket.take_error()? {
                Some(error) => Err(error),
                None => match socket.peer_addr() {
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                        Err(io::ErrorKind::WouldBlock.into())
                    }
                    result => result.map(drop),
                },
            };
            socket.when(WRITING, is_connected).await?;
            Ok(Stream(socket))
        })
    }
}

#[cfg(unix)]
fn is_under_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

#[cfg(not(unix))]
fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// A connection, with hyper's traits instead of those of futures-io.
struct Stream(Async<Socket>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 8192];
        let room = buffer.remaining().min(bytes.len());
        let count = ready!(Pin::new(&mut self.0).poll_read(context, &mut bytes[..room]))?;
        buffer.put_slice(&bytes[..count]);
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}
