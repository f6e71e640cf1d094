//! A thread for each client, as in the document: each thread waits for its own client only.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use polyselect::accept::{Batch, REST};

use crate::common;
use crate::common::ftp::content::Content;
use crate::common::ftp::{Frame, refuse};
use crate::library::Library;

struct FtpServer {
    connfd: Arc<TcpStream>,
    library: Arc<Library>,
    patience: Duration,
}

impl FtpServer {
    fn send(&self, frame: &Frame) -> io::Result<()> {
        frame.write(&*self.connfd)
    }

    fn receive(&self) -> io::Result<Option<Frame>> {
        Frame::receive(&self.connfd, None, self.patience)
    }

    fn do_list(&self) -> io::Result<()> {
        self.answer(self.library.list())
    }

    fn do_get(&self, filename: &str) -> io::Result<()> {
        self.answer(self.library.get(filename))
    }

    fn answer(&self, found: Result<Content, String>) -> io::Result<()> {
        let mut content = match found {
            Ok(content) => content,
            Err(why) => return self.send(&Frame::Refused(why)),
        };
        self.send(&Frame::Ok(content.left()))?;
        loop {
            let frame = content.next_frame();
            self.send(&frame)?;
            if !matches!(frame, Frame::Data(_)) {
                return Ok(());
            }
        }
    }

    fn do_put(&self, filename: &str) -> io::Result<()> {
        let mut upload = match self.library.put(filename) {
            Ok(upload) => upload,
            Err(why) => return self.send(&Frame::Refused(why)),
        };
        self.send(&Frame::Ok(0))?;
        loop {
            match self.receive()? {
                Some(Frame::Data(bytes)) => upload.write(&bytes),
                Some(Frame::End) => return self.send(&upload.finish()),
                // The client cannot read its file.
                Some(Frame::Refused(_)) => return Ok(()),
                Some(other) => return Err(other.unexpected()),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    fn run(&self) -> io::Result<()> {
        loop {
            match self.receive()? {
                None | Some(Frame::Quit) => return Ok(()),
                Some(Frame::List) => self.do_list()?,
                Some(Frame::Get(filename)) => self.do_get(&filename)?,
                Some(Frame::Put(filename)) => self.do_put(&filename)?,
                Some(other) => return Err(other.unexpected()),
            }
        }
    }
}

/// The clients being served, so that the end of the server can disconnect them.
struct Clients {
    /// The limit of clients, so that each accepted one can open a file.
    most: usize,
    present: Mutex<Present>,
    one_left: Condvar,
}

#[derive(Default)]
struct Present {
    connections: HashMap<u64, Arc<TcpStream>>,
    came: u64,
    is_closed: bool,
}

impl Clients {
    fn new() -> Self {
        // A socket, a file, and the descriptors needed while opening that, all at the same time.
        let most = common::affordable_clients(3);
        Self { most, present: Mutex::default(), one_left: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a client may be accepted; `None` once the server is to stop.
    fn enter(&self, connfd: &Arc<TcpStream>) -> Option<u64> {
        let mut present = self.lock();
        while present.connections.len() >= self.most {
            present = self.one_left.wait(present).unwrap_or_else(PoisonError::into_inner);
        }
        if present.is_closed {
            return None;
        }
        present.came += 1;
        let number = present.came;
        present.connections.insert(number, Arc::clone(connfd));
        Some(number)
    }

    fn leave(&self, number: u64) {
        self.lock().connections.remove(&number);
        self.one_left.notify_all();
    }

    /// Closes all connections, and waits until the threads have removed incomplete files.
    fn close(&self) {
        let mut present = self.lock();
        present.is_closed = true;
        for connfd in present.connections.values() {
            let _ = connfd.shutdown(Shutdown::Both);
        }
        while !present.connections.is_empty() {
            present = self.one_left.wait(present).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Removes the client also if its thread panics.
struct Visit(Arc<Clients>, u64);

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

/// Serves until Ctrl-C.
pub fn serve(listener: TcpListener, library: Library, patience: Duration) -> io::Result<()> {
    listener.set_nonblocking(false)?;
    let mut ctrl_c = common::ctrl_c()?;
    crate::announce(&listener)?;
    let clients = Arc::new(Clients::new());
    let (library, accepting) = (Arc::new(library), Arc::clone(&clients));
    thread::Builder::new().spawn(move || {
        let client = |connfd| FtpServer { connfd, library: Arc::clone(&library), patience };
        accept(&listener, &accepting, client);
    })?;
    while ctrl_c.read(&mut [0]).is_err_and(|error| common::is_not_now(&error)) {}
    log::info!("服务器程序退出");
    clients.close();
    Ok(())
}

fn accept(
    listener: &TcpListener,
    clients: &Arc<Clients>,
    client: impl Fn(Arc<TcpStream>) -> FtpServer,
) {
    loop {
        let accepted = Batch::with_limit(1).next(|| listener.accept());
        let started = accepted.and_then(|accepted| {
            let Some((connfd, addr)) = accepted else { return Ok(()) };
            log::info!("Connect from {addr}");
            start(connfd, addr, clients, &client)
        });
        if let Err(error) = started {
            // Most likely out of descriptors or threads; clients in the queue can wait a bit
            // longer.
            log::warn!("{error}");
            thread::sleep(REST);
        }
    }
}

fn start(
    connfd: TcpStream,
    addr: SocketAddr,
    clients: &Arc<Clients>,
    client: impl Fn(Arc<TcpStream>) -> FtpServer,
) -> io::Result<()> {
    // On some systems an accepted socket inherits the listener's mode.
    connfd.set_nonblocking(false)?;
    crate::prepare(&connfd)?;
    let connfd = Arc::new(connfd);
    let Some(number) = clients.enter(&connfd) else { return Ok(()) };
    let visit = Visit(Arc::clone(clients), number);
    let client = client(connfd);
    thread::Builder::new().spawn(move || {
        let _visit = visit;
        if let Err(error) = client.run() {
            refuse(&client.connfd, &error);
            log::info!("{addr} is gone: {error}");
        }
    })?;
    Ok(())
}
