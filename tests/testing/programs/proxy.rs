//! A proxy: the bytes of each side go to the other, until both have ended, or no byte has arrived
//! for 30 seconds.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::{Duration, Instant};

use polyselect::EventLoop;
use polyselect::asyncio::{self, Async};
use polyselect::testing::{Disorder, Lab, Link, explore, first_failure};

use super::{First, Mended, Second, Version};

use crate::sockets::Stream;

const IDLE: Duration = Duration::from_secs(30);

type Conn = Rc<Async<Stream>>;

/// One direction. `last` is the time of the last byte in either.
async fn copy(from: Conn, to: Conn, version: Version, last: Rc<Cell<Instant>>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let n = match asyncio::timeout(IDLE, from.read(&mut buffer)).await {
            Ok(n) => n?,
            Err(_) if version == Mended && asyncio::now() - last.get() < IDLE => continue,
            Err(_) => {
                from.get_ref().shutdown(Shutdown::Both).ok();
                to.get_ref().shutdown(Shutdown::Both).ok();
                return Err(ErrorKind::TimedOut.into());
            }
        };
        last.set(asyncio::now());
        if n == 0 {
            return to.get_ref().shutdown(Shutdown::Write);
        }
        match version {
            First => drop(to.write(&buffer[..n]).await?),
            Second | Mended => to.write_all(&buffer[..n]).await?,
        }
    }
}

async fn proxy(client: Stream, server: Stream, version: Version) -> io::Result<()> {
    let (client, server) = (Rc::new(Async::new(client)?), Rc::new(Async::new(server)?));
    let last = Rc::new(Cell::new(asyncio::now()));
    let to_server =
        asyncio::spawn(copy(Rc::clone(&client), Rc::clone(&server), version, Rc::clone(&last)));
    copy(server, client, version, last).await?;
    to_server.await?
}

/// A short request, and a reply of 20,000 bytes.
fn download(lab: &Lab, version: Version, link: Link) {
    const LENGTH: usize = 20_000;

    let mut event_loop = EventLoop::new(()).unwrap();
    let (client, of_proxy, _wire) = lab.stream_pair(link).unwrap();
    let (to_server, server, _other_wire) = lab.stream_pair(link).unwrap();
    let reply = event_loop.block_on(async {
        asyncio::spawn(proxy(of_proxy, to_server, version)).detach();
        let server = asyncio::spawn(async move {
            let server = Async::new(server)?;
            server.read_exact(&mut [0; 3]).await?;
            // The connection may be gone, which the client notices.
            server.write_all(&[b'!'; LENGTH]).await.ok();
            server.get_ref().shutdown(Shutdown::Write).ok();
            io::Result::Ok(server)
        });
        let client = Async::new(client)?;
        client.write_all(b"get").await?;
        let (mut length, mut buffer) = (0, [0; 4096]);
        loop {
            match client.read(&mut buffer).await? {
                0 => break,
                n => length += n,
            }
        }
        drop((client, server.await??));
        io::Result::Ok(length)
    });
    let length = reply.unwrap().unwrap();
    assert_eq!(length, LENGTH, "the reply was cut, or has holes");
    event_loop.run().unwrap();
}

fn fast() -> Link {
    Link::new().latency(Duration::from_millis(40))
}

fn slow() -> Link {
    fast().bandwidth(400)
}

#[test]
fn the_first_version_loses_bytes_when_writes_are_short() {
    let ordinary = |lab: &Lab| download(lab, First, fast());
    assert!(first_failure(0..20, Disorder::none(), ordinary).is_none());
    let found = first_failure(0..20, Disorder::network(), ordinary).unwrap();
    assert!(found.message.contains("the reply was cut, or has holes"), "{found}");
}

#[test]
fn the_second_version_cuts_a_reply_that_takes_longer_than_the_idle_limit() {
    assert!(
        first_failure(0..20, Disorder::network(), |lab| download(lab, Second, fast())).is_none()
    );
    let found = first_failure(0..1, Disorder::none(), |lab| download(lab, Second, slow())).unwrap();
    assert!(found.message.contains("the reply was cut, or has holes"), "{found}");
}

#[test]
fn the_mended_version_survives_a_slow_network() {
    explore(0..200, Disorder::network(), |lab| {
        let link = if lab.below(2) == 0 { fast() } else { slow() };
        download(lab, Mended, link);
        assert!(lab.elapsed() > Duration::from_millis(120));
    });
}
