//! The `select` server of document 000 (section 6, port 7788): one `select` over the listener, the
//! clients and standard input; it echoes, and any line typed on the keyboard stops it.
//!
//! The original's blocking `send` stalls all other clients while one does not read, and a client that
//! resets its connection ends the server. Its heading says "at most 1024": that belongs to the `fd_set`
//! of the C library, not to the system. The `select` of this crate serves as many clients as the system
//! has descriptors, on Linux, macOS and the BSDs.
//!
//! A line stops the server, and the end of the input does not: started with `</dev/null` or with
//! standard input closed it serves until Ctrl-C, and so it does after Ctrl-D. Text before the end
//! counts as a line, as it does for `readline`.
//!
//! ```text
//! cargo run --example select_stdin_server
//! cargo run --example select_stdin_server -- --addr 127.0.0.1:0 --backend epoll
//! nc localhost 7788
//! ```

mod common;

use std::borrow::Borrow;
use std::io::{self, Read};

use clap::Parser;
use common::keyboard::{self, Keyboard};
use polyselect::accept::Acceptor;
use polyselect::{Backend, Events, Interest, Key, Registration, Selector, WriteQueue};
use socket2::Socket;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:7788")]
    addr: String,
    /// The backend to wait with.
    #[arg(long, default_value_t = Backend::Select)]
    backend: Backend,
}

type Sel = Selector<Source, WriteQueue>;

enum Source {
    Socket(Socket),
    Stdin(keyboard::Input),
}

#[cfg(unix)]
impl std::os::fd::AsFd for Source {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Socket(sock) => sock.as_fd(),
            Self::Stdin(stdin) => stdin.as_fd(),
        }
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for Source {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        let (Self::Socket(sock) | Self::Stdin(sock)) = self;
        sock.as_socket()
    }
}

/// The listener is one of them.
impl Borrow<Socket> for Source {
    fn borrow(&self) -> &Socket {
        match self {
            Self::Socket(sock) => sock,
            Self::Stdin(_) => unreachable!("standard input takes no connections"),
        }
    }
}

fn echo(inputs: &mut Sel, sock: Key) -> io::Result<()> {
    let Some(this) = inputs.get_mut(sock) else { return Ok(()) };
    let mut conn: &Socket = this.source.borrow();
    if this.data.is_empty() {
        let mut data = [0; 1024];
        match conn.read(&mut data)? {
            0 => return inputs.unregister(sock).map(drop),
            n => this.data.push(&data[..n]),
        }
    }
    let all_sent = this.data.flush(conn)?;
    inputs.modify(sock, if all_sent { Interest::READABLE } else { Interest::WRITABLE })
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let mut inputs = Sel::with_backend(args.backend)?;
    let register = |inputs: &mut Sel, sock| {
        inputs.register(Source::Socket(sock), Interest::READABLE, WriteQueue::new())
    };
    let ctrl_c = register(&mut inputs, common::ctrl_c()?)?;
    let server = register(&mut inputs, common::listen(&args.addr)?)?;
    let stdin = Source::Stdin(keyboard::input()?);
    let stdin = inputs.register(stdin, Interest::READABLE, WriteQueue::new())?;

    let mut keyboard = Keyboard::Nothing;
    let mut acceptor = Acceptor::new();
    let mut events = Events::with_capacity(1024);
    loop {
        acceptor.select(&mut inputs, &mut events, None)?;
        for event in &events {
            let sock = event.key;
            if sock == ctrl_c {
                return Ok(());
            }
            let result = if sock == server {
                let accept = |server: &Source| common::accept(server.borrow());
                while let Some((conn, _addr)) = acceptor.next(&mut inputs, server, accept)? {
                    let conn = Source::Socket(conn);
                    common::register(&mut inputs, conn, Interest::READABLE, WriteQueue::new());
                }
                Ok(())
            } else if let Some(Source::Stdin(stdin)) = inputs.get(sock).map(Registration::source) {
                keyboard.read(stdin)
            } else {
                echo(&mut inputs, sock)
            };
            match result {
                _ if keyboard == Keyboard::Line => return Ok(()),
                Err(error) if !common::is_not_now(&error) => {
                    log::warn!("{event:?}: {error}");
                    drop(inputs.unregister(sock)?);
                }
                _ => {}
            }
        }
        if keyboard == Keyboard::End && inputs.contains(stdin) {
            log::info!("standard input has ended; Ctrl-C stops the server");
            drop(inputs.unregister(stdin)?);
        }
    }
}
