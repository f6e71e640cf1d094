//! The file server of document 003 (FTP, port 8080): clients list, get and put the files of a
//! folder; each client has its own thread, or `--model event-loop` serves all on one thread.
//!
//! The original separates messages by sleeping in between, and marks the end of a file with `##`,
//! which a file may contain; here everything is sent in frames with a length. So the document's client
//! and this server do not understand each other: that client is refused with a message. The original
//! had no `do_put`, its `G ../../etc/passwd` left the folder, and an incomplete file looked like a
//! complete one. Here a file appears in the library once all of it has arrived, and never replaces
//! another.
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
use std::time::Duration;

use clap::{Parser, ValueEnum};
use library::Library;
use polyselect::Backend;
use socket2::SockRef;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:8080")]
    addr: String,
    /// How several clients are served at once.
    #[arg(long, value_enum, default_value_t = Model::Threads)]
    model: Model,
    /// The event loop's backend; without it, the best of this system.
    #[arg(long)]
    backend: Option<Backend>,
    /// How long the rest of a frame's letter and length may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    patience: u32,
    /// The folder with the files.
    library: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Model {
    Threads,
    EventLoop,
}

/// Detects clients whose machine vanished without closing the connection.
fn prepare(conn: &TcpStream) -> io::Result<()> {
    conn.set_nodelay(true)?;
    SockRef::from(conn).set_keepalive(true)
}

fn announce(listener: &TcpListener) -> io::Result<()> {
    common::announce(&SockRef::from(listener))
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    if let (Model::Threads, Some(backend)) = (args.model, args.backend) {
        let message = format!("threads do not wait with {backend}: add --model event-loop");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message).into());
    }
    let _printing = common::start_server_log()?;
    let library = Library::open(&args.library)?;
    let patience = Duration::from_secs(args.patience.into());
    let listener = TcpListener::from(common::bind(&args.addr)?);
    match args.model {
        Model::Threads => Ok(thread_per_client::serve(listener, library, patience)?),
        Model::EventLoop => Ok(event_loop::serve(listener, library, args.backend, patience)?),
    }
}
