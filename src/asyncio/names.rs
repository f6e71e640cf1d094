//! Names of hosts: looked up on a thread, and connected to by the first address that accepts.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(unix)]
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::source::Async;
use super::stream_writer::StreamWriter;
use super::streams::StreamReader;
use super::thread::to_thread;
use super::time::sleep;

/// The delay after which the next attempt begins beside a pending one (RFC 8305, "Connection Attempt Delay").
const HEAD_START: Duration = Duration::from_millis(250);

/// Returns the addresses of a host, each with the port: asyncio's `getaddrinfo`.
///
/// `host` is a name, or an address as text, which takes no lookup. A name is looked up by the system's `getaddrinfo` on
/// a thread ([`to_thread`]), so that the loop goes on; the order is the system's.
///
/// # Errors
///
/// The error of the system if the name has no address.
///
/// ```
/// use polyselect::{EventLoop, asyncio};
///
/// let addresses = EventLoop::new(())?.block_on(asyncio::getaddrinfo("localhost", 80))??;
/// assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn getaddrinfo(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = literal.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = host.to_owned();
    let addresses =
        to_thread(move || (name, port).to_socket_addrs().map(Iterator::collect)).await?;
    let addresses: Vec<_> = addresses?;
    if addresses.is_empty() {
        let message = format!("{host} has no address");
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    Ok(addresses)
}

/// Connects to a host, and returns the connection's reader and writer: asyncio's `open_connection`.
///
/// Connects with [`Async::connect_host`], and splits the source with [`Async::split`].
///
/// # Errors
///
/// The errors of [`Async::connect_host`].
///
/// ```
/// use polyselect::{EventLoop, asyncio};
/// use std::{io::Write, net::TcpListener};
///
/// let listener = TcpListener::bind(("127.0.0.1", 0))?;
/// let port = listener.local_addr()?.port();
/// let line = EventLoop::new(())?.block_on(async {
///     let (mut reader, _writer) = asyncio::open_connection("localhost", port).await?;
///     listener.accept()?.0.write_all(b"hello\n")?;
///     std::io::Result::Ok(reader.read_line().await?.to_vec())
/// })??;
/// assert_eq!(line, b"hello\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn open_connection(
    host: &str,
    port: u16,
) -> io::Result<(StreamReader<TcpStream>, StreamWriter<TcpStream>)> {
    Ok(Async::connect_host(host, port).await?.split())
}

/// Connects to the listener with this path, and returns the connection's reader and writer: asyncio's
/// `open_unix_connection`.
///
/// Connects with [`Async::connect_path`], and splits the source with [`Async::split`].
///
/// # Errors
///
/// The errors of [`Async::connect_path`].
///
/// See [`start_unix_server`](super::start_unix_server) for an example.
#[cfg(unix)]
pub async fn open_unix_connection(
    path: impl AsRef<Path>,
) -> io::Result<(StreamReader<UnixStream>, StreamWriter<UnixStream>)> {
    Ok(Async::connect_path(path).await?.split())
}

impl Async<TcpStream> {
    /// Connects to a host by its name or its address.
    ///
    /// A name is looked up as by [`getaddrinfo`]. If it has several addresses, they are tried one after the other,
    /// IPv6 and IPv4 in turn, each 250 ms after the one before or as soon as that has failed; the first connection is
    /// returned, and the other attempts are dropped (Happy Eyeballs, RFC 8305).
    ///
    /// # Errors
    ///
    /// The error of the lookup. If no address accepts, an error of the kind of the first attempt, whose message lists
    /// all.
    ///
    /// See [`open_connection`] for an example.
    pub async fn connect_host(host: &str, port: u16) -> io::Result<Self> {
        let addresses = interleaved(&getaddrinfo(host, port).await?);
        first_of(host, addresses.into_iter().map(|address| (address, Self::connect(address)))).await
    }
}

/// Alternates the addresses of both families, beginning with the family of the first.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_of_first = |address: &SocketAddr| address.is_ipv6() == addresses[0].is_ipv6();
    let (first, second): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(is_of_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::with_capacity(addresses.len());
    while mixed.len() < addresses.len() {
        mixed.extend(first.next().into_iter().chain(second.next()));
    }
    mixed
}

/// Starts the attempts one after the other, and returns the first success.
async fn first_of<C, F: Future<Output = io::Result<C>>>(
    host: &str,
    mut attempts: impl Iterator<Item = (SocketAddr, F)>,
) -> io::Result<C> {
    let mut running: Vec<(SocketAddr, Pin<Box<F>>)> = Vec::new();
    let mut errors: Vec<(SocketAddr, io::Error)> = Vec::new();
    // Until the next attempt; `None` when all have begun.
    let mut head_start = Some(Box::pin(sleep(Duration::ZERO)));
    poll_fn(|context| {
        loop {
            let mut index = 0;
            let before = running.len();
            while let Some((address, attempt)) = running.get_mut(index) {
                match attempt.as_mut().poll(context) {
                    Poll::Pending => index += 1,
                    Poll::Ready(Ok(connection)) => return Poll::Ready(Ok(connection)),
                    Poll::Ready(Err(error)) => {
                        errors.push((*address, error));
                        drop(running.remove(index));
                    }
                }
            }
            let has_failed = running.len() < before;
            let Some(timer) = &mut head_start else {
                let is_over = running.is_empty();
                return if is_over {
                    Poll::Ready(Err(all_failed(host, &errors)))
                } else {
                    Poll::Pending
                };
            };
            let is_first = before == 0 && errors.is_empty();
            if !is_first && !has_failed && timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            head_start = attempts.next().map(|(address, attempt)| {
                running.push((address, Box::pin(attempt)));
                Box::pin(sleep(HEAD_START))
            });
        }
    })
    .await
}

fn all_failed(host: &str, errors: &[(SocketAddr, io::Error)]) -> io::Error {
    let kind = errors.first().map_or(io::ErrorKind::NotFound, |(_, error)| error.kind());
    let errors: Vec<_> =
        errors.iter().map(|(address, error)| format!("{address}: {error}")).collect();
    io::Error::new(kind, format!("{host} cannot be connected to: {}", errors.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_families_take_turns_in_the_order_of_the_system() {
        let six = ["[::1]:1", "[::2]:1", "[::3]:1"].map(address);
        let four = ["127.0.0.1:1", "127.0.0.2:1"].map(address);
        let mixed = interleaved(&[six[0], six[1], six[2], four[0], four[1]]);
        assert_eq!(mixed, [six[0], four[0], six[1], four[1], six[2]]);
        assert_eq!(interleaved(&[four[0], six[0]]), [four[0], six[0]]);
        assert_eq!(interleaved(&four), four);
    }

    /// A full listener drops connection attempts, as a broken route does.
    #[cfg(unix)]
    #[test]
    fn an_address_that_drops_packets_delays_the_connection_by_a_quarter_of_a_second() {
        use std::net::TcpListener;
        use std::time::Instant;

        use super::super::connect::tests::full_listener;
        use crate::EventLoop;

        let (_full, silent, _clients) = full_listener();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let attempts = [silent, open].map(|address| (address, Async::connect(address)));
        let mut event_loop = EventLoop::new(()).unwrap();
        let start = Instant::now();
        let conn = event_loop.block_on(first_of("host", attempts.into_iter())).unwrap().unwrap();
        let took = start.elapsed();
        println!("connected in {took:?}");
        assert!(took >= HEAD_START, "{took:?}");
        assert_eq!(conn.get_ref().peer_addr().unwrap(), open);
    }

    #[cfg(feature = "testing")]
    mod in_a_lab {
        use std::cell::Cell;

        use super::*;
        use crate::EventLoop;
        use crate::testing::{Disorder, Lab};

        /// The result of an attempt, and its delay in milliseconds.
        type Attempt = (u64, Result<&'static str, io::ErrorKind>);

        /// Returns the result, the milliseconds that it took, and how many attempts were begun.
        fn race(attempts: &[Attempt]) -> (io::Result<&'static str>, u128, usize) {
            let lab = Lab::new(1, Disorder::none());
            let begun = Cell::new(0);
            let attempts = attempts.iter().enumerate().map(|(index, &(delay, result))| {
                let begun = &begun;
                let attempt = async move {
                    begun.set(begun.get() + 1);
                    sleep(Duration::from_millis(delay)).await;
                    result.map_err(io::Error::from)
                };
                (SocketAddr::from(([127, 0, 0, 1], index as u16 + 1)), attempt)
            });
            let mut event_loop = EventLoop::in_lab(&lab, ()).unwrap();
            let result = event_loop.block_on(first_of("host", attempts)).unwrap();
            (result, lab.elapsed().as_millis(), begun.get())
        }

        const REFUSED: Result<&str, io::ErrorKind> = Err(io::ErrorKind::ConnectionRefused);
        const NEVER: u64 = 1_000_000;

        #[test]
        fn a_silent_address_delays_the_connection_by_a_quarter_of_a_second() {
            let (result, took, begun) = race(&[(NEVER, Ok("silent")), (20, Ok("second"))]);
            assert_eq!((result.unwrap(), took, begun), ("second", 270, 2));
        }

        #[test]
        fn an_address_that_refuses_costs_no_wait() {
            let (result, took, begun) = race(&[(5, REFUSED), (5, REFUSED), (5, Ok("third"))]);
            assert_eq!((result.unwrap(), took, begun), ("third", 15, 3));
        }

        #[test]
        fn the_first_that_answers_wins_however_early_the_others_began() {
            let (result, took, begun) =
                race(&[(600, Ok("slow")), (300, Ok("quick")), (1, Ok("none"))]);
            assert_eq!((result.unwrap(), took, begun), ("none", 501, 3));
            let (result, took, begun) = race(&[(200, Ok("first")), (0, Ok("second"))]);
            assert_eq!((result.unwrap(), took, begun), ("first", 200, 1));
        }

        #[test]
        fn the_error_lists_each_address_that_failed() {
            let (result, took, _) = race(&[(10, REFUSED), (400, Err(io::ErrorKind::TimedOut))]);
            let error = result.unwrap_err();
            assert_eq!((error.kind(), took), (io::ErrorKind::ConnectionRefused, 410));
            let text = error.to_string();
            assert!(text.contains("127.0.0.1:1: ") && text.contains("127.0.0.1:2: "), "{text}");
        }
    }
}
