//! All clients on one thread and one event loop: the state that a thread keeps in its call stack is
//! data here.
//!
//! A file is always "ready": reading and writing it blocks the loop. That takes a few frames at
//! most, then the other clients are served.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use polyselect::{Backend, Event, EventLoop, Interest, Key, Next, TimerKey, WriteQueue, signal};

use crate::common;
use crate::common::ftp::content::Content;
use crate::common::ftp::{Frame, LONGEST, PREFIX, refuse, silent};
use crate::library::{Library, Upload};

struct State {
    library: Library,
    clients: HashMap<Key, Client>,
    /// Above this number, clients wait in the listener's queue, so that each accepted one can open
    /// a file.
    most_clients: usize,
    patience: Duration,
    listener: Option<Key>,
}

type Server = EventLoop<State>;

struct Client {
    addr: SocketAddr,
    input: Vec<u8>,
    has_ended: bool,
    outgoing: WriteQueue,
    task: Task,
    /// Set while the prefix of a frame is incomplete.
    timer: Option<TimerKey>,
}

enum Task {
    Command,
    Sending(Content),
    Receiving(Upload),
    Quit,
}

/// The number of frames sent or received before the other clients are served.
const FRAMES_A_TURN: usize = 16;

impl Client {
    fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            input: Vec::new(),
            has_ended: false,
            outgoing: WriteQueue::new(),
            task: Task::Command,
            timer: None,
        }
    }

    /// Whether a frame has begun, and its letter and length have not arrived.
    fn has_half_a_prefix(&self) -> bool {
        (1..PREFIX).contains(&self.input.len())
    }

    /// Runs one step. Returns the interest to wait for, or `None` at the end.
    fn go_on(
        &mut self,
        library: &Library,
        mut conn: &TcpStream,
        event: Event,
    ) -> io::Result<Option<Interest>> {
        if event.is_readable() {
            self.read(conn)?;
        }
        for _ in 0..FRAMES_A_TURN {
            let is_done = !self.step(library)?;
            if !self.outgoing.flush(&mut conn)? {
                return Ok(Some(Interest::WRITABLE));
            }
            if is_done {
                return match self.task {
                    Task::Quit => Ok(None),
                    Task::Command if self.has_ended && self.input.is_empty() => Ok(None),
                    _ if self.has_ended => Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => Ok(Some(Interest::READABLE)),
                };
            }
        }
        // More frames remain; a socket with room is reported as writable at once.
        Ok(Some(Interest::WRITABLE))
    }

    /// Reads at most one frame ahead, so a client that sends faster than its frames are processed
    /// has to wait.
    fn read(&mut self, mut conn: &TcpStream) -> io::Result<()> {
        let mut bytes = [0; PREFIX + LONGEST];
        let room = bytes.len() - self.input.len();
        if room == 0 {
            return Ok(());
        }
        match conn.read(&mut bytes[..room]) {
            Ok(0) => self.has_ended = true,
            Ok(n) => self.input.extend(&bytes[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Handles one frame, in or out; `false` if none is complete.
    fn step(&mut self, library: &Library) -> io::Result<bool> {
        if let Task::Sending(content) = &mut self.task {
            let frame = content.next_frame();
            self.outgoing.push(&frame.encode());
            if !matches!(frame, Frame::Data(_)) {
                self.task = Task::Command;
            }
            return Ok(true);
        }
        if matches!(self.task, Task::Quit) {
            return Ok(false);
        }
        let Some((frame, length)) = Frame::decode(&self.input)? else { return Ok(false) };
        self.input.drain(..length);
        match std::mem::replace(&mut self.task, Task::Command) {
            Task::Receiving(upload) => self.receive(upload, frame)?,
            _ => self.obey(library, frame)?,
        }
        Ok(true)
    }

    fn obey(&mut self, library: &Library, command: Frame) -> io::Result<()> {
        let begun = match command {
            Frame::List => library.list().map(|list| (list.left(), Task::Sending(list))),
            Frame::Get(name) => library.get(&name).map(|file| (file.left(), Task::Sending(file))),
            Frame::Put(name) => library.put(&name).map(|upload| (0, Task::Receiving(upload))),
            Frame::Quit => {
                self.task = Task::Quit;
                return Ok(());
            }
            other => return Err(other.unexpected()),
        };
        let answer = match begun {
            Ok((size, task)) => {
                self.task = task;
                Frame::Ok(size)
            }
            Err(why) => Frame::Refused(why),
        };
        self.outgoing.push(&answer.encode());
        Ok(())
    }

    fn receive(&mut self, mut upload: Upload, frame: Frame) -> io::Result<()> {
        match frame {
            Frame::Data(bytes) => {
                upload.write(&bytes);
                self.task = Task::Receiving(upload);
            }
            Frame::End => self.outgoing.push(&upload.finish().encode()),
            // The client cannot read its file.
            Frame::Refused(_) => {}
            other => return Err(other.unexpected()),
        }
        Ok(())
    }
}

fn welcome(server: &mut Server, conn: TcpStream, addr: SocketAddr) -> io::Result<()> {
    log::info!("Connect from {addr}");
    crate::prepare(&conn)?;
    let key = server.register(conn, Interest::READABLE, go_on)?;
    server.state.clients.insert(key, Client::new(addr));
    if server.state.clients.len() >= server.state.most_clients {
        listen(server, Interest::empty())?;
    }
    Ok(())
}

fn forget(server: &mut Server, key: Key) -> Option<Client> {
    let client = server.state.clients.remove(&key)?;
    if let Some(timer) = client.timer {
        server.cancel(timer).expect("is kept until it runs");
    }
    if let Err(error) = listen(server, Interest::READABLE) {
        log::warn!("no more clients can come: {error}");
    }
    Some(client)
}

fn listen(server: &mut Server, interest: Interest) -> io::Result<()> {
    server.state.listener.map_or(Ok(()), |listener| server.modify(listener, interest))
}

fn go_on(server: &mut Server, conn: &TcpStream, event: Event) -> io::Result<Next> {
    let State { library, clients, patience, .. } = &mut server.state;
    let (key, patience) = (event.key, *patience);
    let Some(client) = clients.get_mut(&key) else { return Ok(Next::Remove) };
    let interest = client.go_on(library, conn, event).inspect_err(|error| refuse(conn, error))?;
    let Some(interest) = interest else {
        forget(server, key);
        return Ok(Next::Remove);
    };
    let waits = interest == Interest::READABLE && client.has_half_a_prefix();
    if let Some(timer) = client.timer.take() {
        server.cancel(timer)?;
    }
    if waits {
        let timer = server.call_later(patience, move |server| give_up(server, key));
        server.state.clients.get_mut(&key).expect("is still served").timer = Some(timer);
    }
    Ok(Next::Modify(interest))
}

/// Closes the connection of a client that does not complete a prefix.
fn give_up(server: &mut Server, key: Key) {
    let error = silent(server.state.patience);
    if let Some(conn) = server.get::<TcpStream>(key) {
        refuse(conn, &error);
    }
    if let Some(client) = server.state.clients.get_mut(&key) {
        client.timer = None;
        log::info!("{} is gone: {error}", client.addr);
    }
    forget(server, key);
    let _ = server.unregister(key);
}

/// Serves until Ctrl-C.
pub fn serve(
    listener: TcpListener,
    library: Library,
    backend: Option<Backend>,
    patience: Duration,
) -> io::Result<()> {
    // A socket and a file.
    let most_clients = common::affordable_clients(2);
    let clients = HashMap::new();
    let state = State { library, clients, most_clients, patience, listener: None };
    let mut server = match backend {
        Some(backend) => Server::with_backend(backend, state)?,
        None => Server::new(state)?,
    };
    server.on_error(|server, key, error| match forget(server, key).map(|client| client.addr) {
        Some(addr) => log::info!("{addr} is gone: {error}"),
        None => log::warn!("a client is refused: {error}"),
    });
    let key = server.accept(listener, welcome)?;
    server.state.listener = Some(key);
    for signal in [signal::SIGINT, signal::SIGTERM] {
        server.on_signal(signal, EventLoop::stop)?;
    }
    if let Some(listener) = server.get(key) {
        crate::announce(listener)?;
    }
    server.run()?;
    log::info!("服务器程序退出");
    Ok(())
}
