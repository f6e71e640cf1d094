//! Clients that connect all at once, while the server does not run.

use std::io::{self, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libtest_mimic::Failed;
use polyselect::{Events, Interest, Selector};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use super::subject::Subject;
use super::{SURELY, Server};

/// More than the standard library's backlog of 128, and the documents' 100.
const CLIENTS: usize = 1000;

/// Descriptors for the rest of this process, or of a server.
const OTHER_DESCRIPTORS: u64 = 400;

/// Connects 1,000 clients while the server is suspended, so that the accept queue has to hold all of
/// them; then each sends its text and compares the answer. Nothing reads the server's output. The load is started
/// first, and dropped at the end.
pub fn bear_a_burst<L>(
    subject: &Subject,
    mut server: Server,
    load: impl FnOnce() -> L,
) -> Result<(), Failed> {
    let _guard = one_at_a_time();
    let _load = load();
    let texts = Texts::new(subject);
    server.suspend();
    let mut burst = Burst::connect(server.address, clients()?)?;
    server.resume();
    burst.exchange(&texts)?;
    drop(burst);
    server.read_output();
    server.stop();
    Ok(())
}

/// One burst at a time: each takes as many ports and descriptors as it has clients.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn clients() -> Result<usize, Failed> {
    Ok(CLIENTS.min(accept_queue_limit()).min(affordable_clients()?))
}

/// The connected clients of a burst.
pub struct Connected {
    clients: Vec<TcpStream>,
    _guard: MutexGuard<'static, ()>,
}

impl Deref for Connected {
    type Target = [TcpStream];

    fn deref(&self) -> &[TcpStream] {
        &self.clients
    }
}

/// Connects 1,000 clients while the server is suspended.
pub fn connect_at_once(server: &Server) -> Result<Connected, Failed> {
    let _guard = one_at_a_time();
    server.suspend();
    let mut burst = Burst::connect(server.address, clients()?)?;
    server.resume();
    let clients = burst.selector.drain()?.map(|(_, registration)| {
        let client = TcpStream::from(registration.into_parts().0);
        client.set_nonblocking(false)?;
        client.set_read_timeout(Some(SURELY))?;
        Ok(client)
    });
    Ok(Connected { clients: clients.collect::<io::Result<_>>()?, _guard })
}

/// The largest accept queue that the system allows.
fn accept_queue_limit() -> usize {
    const ON_MOST_SYSTEMS: usize = 128;

    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    limit.ok().and_then(|limit| limit.trim().parse().ok()).unwrap_or(ON_MOST_SYSTEMS)
}

/// Raises the limit on descriptors for this process and the servers that it starts later.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = CLIENTS as u64 + OTHER_DESCRIPTORS;
    let raised = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if limit.current.is_some_and(|current| current < raised) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit })
            .expect("the hard limit allows it");
    }
}

fn affordable_clients() -> Result<usize, Failed> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let clients = limit.saturating_sub(OTHER_DESCRIPTORS);
    if clients == 0 {
        return Err(format!("{limit} descriptors are too few: raise `ulimit -Hn`").into());
    }
    Ok(usize::try_from(clients)?)
}

/// The text of each client, and the expected answer.
struct Texts {
    sent: Vec<u8>,
    answers: Vec<u8>,
    length: usize,
}

impl Texts {
    const ECHOED: usize = 65_536;
    /// Answered by a server that reads 100 bytes at a time.
    const ECHOED_SLOWLY: usize = 4_096;
    /// One message, read and answered as a whole.
    const ANSWERED: usize = 100;

    fn new(subject: &Subject) -> Self {
        let length = match subject.example {
            "asyncio_echo" | "asyncio_start_server" => Self::ECHOED_SLOWLY,
            _ if subject.echoes() => Self::ECHOED,
            _ => Self::ANSWERED,
        };
        // Each client's text is a different window, so that a byte of another client is detected.
        let mut state = 1_u32;
        let letters = (0..length + CLIENTS).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + (state >> 24) as u8 % 26
        });
        let sent: Vec<u8> = letters.collect();
        let answers = (subject.answer)(&sent);
        Self { sent, answers, length }
    }

    fn sent(&self, client: usize) -> &[u8] {
        &self.sent[client..client + self.length]
    }

    fn answer(&self, client: usize) -> &[u8] {
        if self.answers.len() == self.sent.len() {
            &self.answers[client..client + self.length]
        } else {
            &self.answers
        }
    }
}

struct Client {
    number: usize,
    sent: usize,
    received: usize,
}

impl Client {
    /// Sends and receives until `WouldBlock`; returns the interest to wait for, empty at the end.
    fn exchange(&mut self, mut socket: &Socket, texts: &Texts) -> io::Result<Interest> {
        let (text, answer) = (texts.sent(self.number), texts.answer(self.number));
        while self.sent < text.len() {
            match socket.write(&text[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let mut data = [0; 16_384];
        loop {
            match socket.read(&mut data) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) if !answer[self.received..].starts_with(&data[..n]) => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Ok(n) => self.received += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let mut interest = Interest::empty();
        interest.set(Interest::WRITABLE, self.sent < text.len());
        interest.set(Interest::READABLE, self.received < answer.len());
        Ok(interest)
    }
}

struct Burst {
    selector: Selector<Socket, Client>,
    events: Events,
    failures: Vec<String>,
}

impl Burst {
    fn connect(address: SocketAddr, clients: usize) -> Result<Self, Failed> {
        let selector = Selector::new()?;
        let mut this = Self { selector, events: Events::with_capacity(1024), failures: Vec::new() };
        for number in 0..clients {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            // Closing with a reset leaves no port in TIME_WAIT.
            socket.set_linger(Some(Duration::ZERO))?;
            match socket.connect(&address.into()) {
                Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error.into()),
                _ => {}
            }
            let client = Client { number, sent: 0, received: 0 };
            this.selector.register(socket, Interest::WRITABLE, client)?;
        }
        this.run("are connected", |socket, _| {
            socket.take_error()?.map_or(Ok(Interest::empty()), Err)
        })?;
        Ok(this)
    }

    fn exchange(&mut self, texts: &Texts) -> Result<(), Failed> {
        for key in self.selector.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            self.selector.modify(key, Interest::WRITABLE)?;
        }
        self.run("have every byte", |socket, client| client.exchange(socket, texts))?;
        // No byte follows the last.
        for (_, registration) in &self.selector {
            let error = registration.source().peek(&mut [mem::MaybeUninit::uninit()]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
        }
        Ok(())
    }

    /// Runs each client until it waits for nothing, and fails if one of them has failed.
    fn run(
        &mut self,
        goal: &str,
        mut step: impl FnMut(&Socket, &mut Client) -> io::Result<Interest>,
    ) -> Result<(), Failed> {
        let (clients, mut done) = (self.selector.len(), 0);
        while done + self.failures.len() < clients {
            if self.selector.select(&mut self.events, SURELY)? == 0 {
                self.failures.push(format!("nothing has happened for {SURELY:?}"));
                break;
            }
            for event in &self.events {
                let Some(this) = self.selector.get_mut(event.key) else { continue };
                match step(this.source, this.data) {
                    Ok(interest) => {
                        done += usize::from(interest.is_empty());
                        self.selector.modify(event.key, interest)?;
                    }
                    Err(error) => {
                        self.failures.push(error.to_string());
                        drop(self.selector.unregister(event.key)?);
                    }
                }
            }
        }
        match self.failures.first() {
            None => Ok(()),
            Some(first) => Err(format!("{done} of {clients} clients {goal}: {first}").into()),
        }
    }
}

const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();
