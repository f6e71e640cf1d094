//! Connections that one process accepts and others serve: descriptors are passed over a Unix socket (`SCM_RIGHTS`).
//!
//! `read_with` and `write_with` do any operation on a source, here `recvmsg` and `sendmsg`, and wait until it does not
//! block. Each message is one byte and one descriptor, so that each `recvmsg` takes one.
//!
//! ```text
//! cargo run -p polyselect-recipes --bin pass_descriptors -- localhost:10000 2
//! nc localhost 10000
//! ```

mod failure;

use std::cell::Cell;
use std::env;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;

use polyselect::EventLoop;
use polyselect::asyncio::{self, Async, Process};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Sends a descriptor. The receiver gets one of its own, of the same connection.
async fn send(socket: &Async<UnixStream>, connection: &TcpStream) -> io::Result<()> {
    let descriptors = [connection.as_fd()];
    let sending = socket.write_with(|socket| {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        Ok(sendmsg(socket, &[IoSlice::new(b"!")], &mut control, SendFlags::empty())?)
    });
    sending.await.map(drop)
}

/// Receives a descriptor; `None` at the end of the stream.
async fn receive(socket: &Async<UnixStream>) -> io::Result<Option<OwnedFd>> {
    // A program that is started later does not inherit it.
    #[cfg(target_os = "linux")]
    const FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    const FLAGS: RecvFlags = RecvFlags::empty();

    let receiving = socket.read_with(|socket| {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let message = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, FLAGS)?;
        let passed = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        Ok((message.bytes, passed))
    });
    match receiving.await? {
        (0, _) => Ok(None),
        (_, Some(descriptor)) => Ok(Some(descriptor)),
        // The system has dropped it: this process has as many as it may have.
        (_, None) => Err(io::Error::other("a descriptor did not arrive: is the limit reached?")),
    }
}

/// Greets, then echoes.
async fn serve(stream: Async<TcpStream>) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    writer.write(format!("process {} serves you\n", std::process::id()).as_bytes())?;
    loop {
        let line = reader.read_line().await?;
        if line.is_empty() {
            return writer.close().await;
        }
        writer.write(line)?;
        writer.drain().await?;
    }
}

/// A worker: its standard input is the socket by which the connections come.
async fn work() -> io::Result<()> {
    let socket = Async::new(UnixStream::from(rustix::io::dup(rustix::stdio::stdin())?))?;
    while let Some(descriptor) = receive(&socket).await? {
        asyncio::spawn(serve(Async::new(TcpStream::from(descriptor))?)).detach();
    }
    Ok(())
}

/// Starts the workers, accepts, and gives each worker a connection in turn.
async fn distribute(host: &str, port: u16, workers: usize) -> io::Result<()> {
    let mut processes = Vec::new();
    let mut sockets = Vec::new();
    for _ in 0..workers {
        let (ours, theirs) = UnixStream::pair()?;
        let mut worker = Command::new(env::current_exe()?);
        worker.arg("worker").stdin(OwnedFd::from(theirs));
        let mut process = Process::spawn(&mut worker)?;
        process.set_kill_on_drop(true);
        processes.push(process);
        sockets.push(Async::new(ours)?);
    }
    let turn = Cell::new(0);
    let handle = move |stream: Async<TcpStream>| {
        let socket = sockets[turn.replace(turn.get() + 1) % sockets.len()].clone();
        // Our descriptor is closed afterwards, and the connection goes on with the worker's.
        async move { send(&socket, stream.get_ref()).await }
    };
    let server = asyncio::start_server_host(host, port, handle).await?;
    for address in server.local_addrs() {
        println!("listening on {address}");
    }
    server.serve_forever().await
}

fn main() -> Result<(), failure::Failure> {
    env_logger::init();
    let arguments: Vec<_> = env::args().skip(1).collect();
    let mut event_loop = EventLoop::new(())?;
    match &arguments[..] {
        [word] if word == "worker" => {
            event_loop.block_on(work())??;
            // The connections that are left.
            event_loop.run()?;
        }
        [address, workers] => {
            let (host, port) = address.rsplit_once(':').ok_or("an address is HOST:PORT")?;
            event_loop.block_on(distribute(host, port.parse()?, workers.parse()?))??;
        }
        _ => return Err("usage: pass_descriptors HOST:PORT WORKERS".into()),
    }
    Ok(())
}
