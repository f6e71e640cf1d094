//! The file server of document 003 (FTP, port 8080): clients list, get and put the files of a folder,
//! and each has a thread of its own; `--model event-loop` serves them all on one thread.
//!
//! The original tells one message from the next by sleeping in between, and the end of a file by
//! `##`, which a file may contain; here all goes in frames that say how long they are. It had no
//! `do_put`, gave `G ../../etc/passwd` away, and half a file looked like a whole one. Here a file
//! appears in the library when all of it has come, and never takes the place of another.
//!
//! ```text
//! cargo run --example ftp_server -- LIBRARY
//! cargo run --example ftp_server -- --addr 127.0.0.1:0 --model event-loop --backend poll LIBRARY
//! cargo run --example ftp_client
//! ```

#[path = "../common/mod.rs"]
mod common;
mod event_loop;
mod library;
mod thread_per_client;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use library::Library;
use polyselect::Backend;
use socket2::SockRef;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8080")]
    addr: String,
    /// How several clients are served at once.
    #[arg(long, value_enum, default_value_t = Model::Threads)]
    model: Model,
    /// The event loop's mechanism to wait with; without it, the best of this system.
    #[arg(long)]
    backend: Option<Backend>,
    /// The folder with the files.
    library: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Model {
    Threads,
    EventLoop,
}

/// A client whose machine is gone without a word is noticed in the end.
fn prepare(conn: &TcpStream) -> io::Result<()> {
    conn.set_nodelay(true)?;
    SockRef::from(conn).set_keepalive(true)
}

fn announce(listener: &TcpListener) -> io::Result<()> {
    common::announce(&SockRef::from(listener))
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    if let (Model::Threads, Some(backend)) = (args.model, args.backend) {
        let message = format!("threads do not wait with {backend}: add --model event-loop");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let _printing = common::start_server_log()?;
    let library = Library::open(&args.library)?;
    let listener = TcpListener::from(common::bind(&args.addr)?);
    match args.model {
        Model::Threads => thread_per_client::serve(listener, library),
        Model::EventLoop => event_loop::serve(listener, library, args.backend),
    }
}
