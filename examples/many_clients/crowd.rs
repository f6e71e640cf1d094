//! All clients on one selector.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use polyselect::{Backend, Events, Interest, Key, Selector, WriteQueue};
use socket2::{SockAddr, Socket};

use crate::common;
use crate::report::Report;

pub(crate) struct Crowd {
    server: SockAddr,
    /// The connection that has found the server's address.
    first: Option<Socket>,
    selector: Selector<Socket, Client>,
    events: Events,
    ctrl_c: Key,
    patience: Duration,
    progress: ProgressBar,
    report: Report,
}

/// A message, and the reply to it.
pub(crate) struct Exchange<'a> {
    pub(crate) message: &'a [u8],
    pub(crate) reply: Vec<u8>,
}

struct Client {
    is_connected: bool,
    /// When connecting, or sending the message, began.
    since: Instant,
    sending: WriteQueue,
    received: usize,
}

impl Client {
    fn new() -> Self {
        Self { is_connected: false, since: Instant::now(), sending: WriteQueue::new(), received: 0 }
    }

    /// Starts to send a message; returns the interest to wait for.
    fn send(&mut self, s: &Socket, message: &[u8]) -> io::Result<Interest> {
        log::debug!("{}: sending \"{}\"", common::local(s), message.escape_ascii());
        (self.since, self.received) = (Instant::now(), 0);
        let all_sent = self.sending.send(s, message)?;
        Ok(if all_sent { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE })
    }

    /// Sends the rest of the message, reads the reply, and returns the interest to wait for; empty
    /// once the reply is complete.
    fn exchange(&mut self, mut s: &Socket, reply: &[u8]) -> io::Result<Interest> {
        let all_sent = self.sending.flush(s)?;
        let mut data = [0; 1024];
        let missing = &reply[self.received..];
        match s.read(&mut data) {
            Ok(0) => {
                let message = format!("closed by the server, {} bytes missing", missing.len());
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            Ok(n) if !missing.starts_with(&data[..n]) => {
                let (data, missing) = (data[..n].escape_ascii(), missing.escape_ascii());
                let message = format!("received \"{data}\" instead of \"{missing}\"");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            Ok(n) => {
                log::debug!("{}: received \"{}\"", common::local(s), data[..n].escape_ascii());
                self.received += n;
            }
            Err(error) if common::is_not_now(&error) => {}
            Err(error) => return Err(error),
        }
        let mut interest = Interest::empty();
        interest.set(Interest::READABLE, self.received < reply.len());
        interest.set(Interest::WRITABLE, !all_sent);
        Ok(interest)
    }
}

impl Crowd {
    pub(crate) fn new(
        first: Socket,
        backend: Option<Backend>,
        progress: ProgressBar,
        patience: Duration,
    ) -> io::Result<Self> {
        first.set_nonblocking(true)?;
        let (server, first) = (first.peer_addr()?, Some(first));
        let mut selector = backend.map_or_else(Selector::new, Selector::with_backend)?;
        let ctrl_c = selector.register(common::ctrl_c()?, Interest::READABLE, Client::new())?;
        let events = Events::with_capacity(1024);
        let report = Report::default();
        Ok(Self { server, first, selector, events, ctrl_c, patience, progress, report })
    }

    /// Opens all connections and exchanges the first message on each. Until that is answered the server may
    /// not have accepted the connection, and `at_once` bounds how many are in this state.
    pub(crate) fn connect(
        &mut self,
        clients: u32,
        at_once: u32,
        first: &Exchange<'_>,
    ) -> io::Result<()> {
        self.progress.set_message("connect");
        let (mut to_open, mut unanswered) = (clients, 0);
        loop {
            while to_open > 0 && unanswered < at_once {
                to_open -= 1;
                match self.open() {
                    Ok(()) => unanswered += 1,
                    Err(error) => self.report.fail(&common::show(&self.server), &error),
                }
            }
            if unanswered == 0 {
                return Ok(());
            }
            for key in self.wait(unanswered as usize)? {
                unanswered -= u32::from(self.go_on(key, first)?);
            }
        }
    }

    fn open(&mut self) -> io::Result<()> {
        let client = Client::new();
        let s = match self.first.take() {
            Some(first) => first,
            None => self.start_to_connect()?,
        };
        self.selector.register(s, Interest::WRITABLE, client)?;
        Ok(())
    }

    fn start_to_connect(&self) -> io::Result<Socket> {
        let s = common::tcp_socket(&self.server)?;
        s.set_nonblocking(true)?;
        match s.connect(&self.server) {
            Err(error) if !is_under_way(&error) => Err(error),
            _ => Ok(s),
        }
    }

    /// Sends a message on all connections, then reads and compares all replies.
    pub(crate) fn exchange(&mut self, exchange: &Exchange<'_>) -> io::Result<()> {
        self.progress.set_message("exchange");
        let keys = self.selector.iter().map(|(key, _)| key).filter(|&key| key != self.ctrl_c);
        let mut waiting = 0;
        for key in keys.collect::<Vec<_>>() {
            let Some(this) = self.selector.get_mut(key) else { continue };
            match this.data.send(this.source, exchange.message) {
                Ok(interest) => {
                    waiting += 1;
                    self.selector.modify(key, interest)?;
                }
                Err(error) => self.close(key, &error)?,
            }
        }
        while waiting > 0 {
            for key in self.wait(waiting)? {
                waiting -= usize::from(self.go_on(key, exchange)?);
            }
        }
        Ok(())
    }

    /// Goes on with a client that is ready; returns whether it has its reply, or has failed.
    fn go_on(&mut self, key: Key, exchange: &Exchange<'_>) -> io::Result<bool> {
        let Some(this) = self.selector.get_mut(key) else { return Ok(false) };
        let (s, client) = (this.source, this.data);
        let result = if client.is_connected {
            client.exchange(s, &exchange.reply)
        } else {
            s.take_error().and_then(|error| error.map_or(Ok(()), Err)).and_then(|()| {
                client.is_connected = true;
                self.report.connects.push(client.since.elapsed());
                self.progress.inc(1);
                client.send(s, exchange.message)
            })
        };
        let since = client.since;
        match result {
            Ok(interest) => {
                self.selector.modify(key, interest)?;
                if interest.is_empty() {
                    self.report.replies.push(since.elapsed());
                    self.progress.inc(1);
                }
                Ok(interest.is_empty())
            }
            Err(error) => {
                self.close(key, &error)?;
                Ok(true)
            }
        }
    }

    /// Waits for ready clients; fails if none is for too long, or at Ctrl-C.
    fn wait(&mut self, waiting: usize) -> io::Result<Vec<Key>> {
        if self.selector.select(&mut self.events, self.patience)? == 0 {
            let message = format!(
                "nothing has happened for {:?}, and {waiting} clients wait for the server: \
                 it may have no descriptors left for them (`ulimit -n` there)",
                self.patience
            );
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        let keys: Vec<_> = self.events.iter().map(|event| event.key).collect();
        if keys.contains(&self.ctrl_c) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "stopped by Ctrl-C"));
        }
        Ok(keys)
    }

    fn close(&mut self, key: Key, error: &io::Error) -> io::Result<()> {
        let (s, client) = self.selector.unregister(key)?.into_parts();
        if client.is_connected {
            self.report.fail(&common::local(&s), error);
        } else {
            self.report.fail(&format!("{} cannot be reached", common::show(&self.server)), error);
        }
        Ok(())
    }

    /// Closes all connections, and returns the report.
    pub(crate) fn finish(self) -> Report {
        self.progress.finish_and_clear();
        self.report
    }
}

/// Whether the error means that a non-blocking `connect` is still in progress.
fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    return error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error());
    #[cfg(not(unix))]
    return error.kind() == io::ErrorKind::WouldBlock;
}
