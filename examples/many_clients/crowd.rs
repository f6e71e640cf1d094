//! All clients, in one selector.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use polyselect::{Backend, Events, Interest, Key, Selector, WriteQueue};
use socket2::{SockAddr, Socket};

use crate::common;
use crate::report::Report;

pub(crate) struct Crowd {
    selector: Selector<Socket, Client>,
    events: Events,
    ctrl_c: Key,
    patience: Duration,
    progress: ProgressBar,
    report: Report,
}

struct Client {
    /// When it began to connect, or to send.
    since: Instant,
    sending: WriteQueue,
    received: usize,
}

impl Client {
    fn new() -> Self {
        Self { since: Instant::now(), sending: WriteQueue::new(), received: 0 }
    }

    /// Sends what is left of the message, takes what has come of the reply, and says what to wait
    /// for; for nothing when all has come.
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
        backend: Option<Backend>,
        progress: ProgressBar,
        patience: Duration,
    ) -> io::Result<Self> {
        let mut selector = backend.map_or_else(Selector::new, Selector::with_backend)?;
        let ctrl_c = selector.register(common::ctrl_c()?, Interest::READABLE, Client::new())?;
        let events = Events::with_capacity(1024);
        Ok(Self { selector, events, ctrl_c, patience, progress, report: Report::default() })
    }

    /// Opens all connections, so many at once.
    pub(crate) fn connect(
        &mut self,
        address: &SockAddr,
        clients: u32,
        at_once: u32,
    ) -> io::Result<()> {
        self.progress.set_message("connect");
        let (mut to_open, mut opening) = (clients, 0);
        loop {
            while to_open > 0 && opening < at_once {
                to_open -= 1;
                match self.open(address) {
                    Ok(()) => opening += 1,
                    Err(error) => self.report.fail(&common::show(address), &error),
                }
            }
            if opening == 0 {
                return Ok(());
            }
            for key in self.wait(opening as usize)? {
                opening -= 1;
                self.progress.inc(1);
                let registration = &self.selector[key];
                match registration.source().take_error() {
                    Ok(None) => {
                        self.report.connects.push(registration.data().since.elapsed());
                        self.selector.modify(key, Interest::empty())?;
                    }
                    Ok(Some(error)) | Err(error) => {
                        let server = common::show(address);
                        let cannot = common::about(format!("{server} cannot be reached"));
                        self.close(key, &cannot(error))?;
                    }
                }
            }
        }
    }

    fn open(&mut self, address: &SockAddr) -> io::Result<()> {
        let client = Client::new();
        let s = common::tcp_socket(address)?;
        s.set_nonblocking(true)?;
        match s.connect(address) {
            Err(error) if !is_under_way(&error) => return Err(error),
            _ => {}
        }
        self.selector.register(s, Interest::WRITABLE, client)?;
        Ok(())
    }

    /// Sends a message on all connections, then reads and compares all replies.
    pub(crate) fn exchange(&mut self, message: &[u8], reply: &[u8]) -> io::Result<()> {
        self.progress.set_message("exchange");
        let keys = self.selector.iter().map(|(key, _)| key).filter(|&key| key != self.ctrl_c);
        let keys: Vec<_> = keys.collect();
        let mut waiting = 0;
        for key in keys {
            let Some(this) = self.selector.get_mut(key) else { continue };
            log::debug!("{}: sending \"{}\"", common::local(this.source), message.escape_ascii());
            *this.data = Client::new();
            match this.data.sending.send(this.source, message) {
                Ok(all_sent) => {
                    waiting += 1;
                    let rest = if all_sent { Interest::empty() } else { Interest::WRITABLE };
                    self.selector.modify(key, Interest::READABLE | rest)?;
                }
                Err(error) => self.close(key, &error)?,
            }
        }
        while waiting > 0 {
            for key in self.wait(waiting)? {
                let Some(this) = self.selector.get_mut(key) else { continue };
                let result = this.data.exchange(this.source, reply);
                let since = this.data.since;
                match result {
                    Ok(interest) => {
                        self.selector.modify(key, interest)?;
                        if !interest.is_empty() {
                            continue;
                        }
                        self.report.replies.push(since.elapsed());
                    }
                    Err(error) => self.close(key, &error)?,
                }
                waiting -= 1;
                self.progress.inc(1);
            }
        }
        Ok(())
    }

    /// Who is ready; an error if nobody is for too long, or somebody presses Ctrl-C.
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
        let registration = self.selector.unregister(key)?;
        self.report.fail(&common::local(registration.source()), error);
        Ok(())
    }

    /// Closes all connections, and tells how it went.
    pub(crate) fn finish(self) -> Report {
        self.progress.finish_and_clear();
        self.report
    }
}

/// Whether a connection is being opened, which for a socket that does not block is no error.
fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    return error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error());
    #[cfg(not(unix))]
    return error.kind() == io::ErrorKind::WouldBlock;
}
