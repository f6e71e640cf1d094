//! Python's `socketserver` (document 001): a class library over the models. A handler processes a
//! request; a server defines the kind of request (a connection or a datagram, over the network or
//! within the machine); a mix-in defines where it runs (in the server, a thread, a process). Any
//! handler works with any server and any mix-in.
//!
//! The original has a `break` outside a loop; here a connection is served until its end.
//!
//! ```text
//! cargo run --example socketserver                        # ThreadingTCPServer
//! cargo run --example socketserver -- --kind udp --mixin plain
//! cargo run --example socketserver -- --kind unix-stream --mixin forking --path /tmp/server
//! nc localhost 8089
//! nc -u localhost 8089
//! nc -U /tmp/server
//! ```

#[path = "../common/mod.rs"]
mod common;

#[cfg(unix)]
mod mixin;
#[cfg(unix)]
mod request;
#[cfg(unix)]
mod server;

#[cfg(unix)]
fn main() -> Result<(), common::Failure> {
    Ok(document::main()?)
}

#[cfg(not(unix))]
fn main() {
    eprintln!("this system has neither forks nor sockets of the Unix domain");
}

/// The document's program.
#[cfg(unix)]
mod document {
    use std::io;
    use std::path::PathBuf;

    use clap::Parser;
    use polyselect::Backend;

    use super::common;
    use super::mixin::Mixin;
    use super::request::{Handler, Request};
    use super::server::{Kind, Server};

    #[derive(Parser)]
    struct Args {
        /// Where the kinds of the network listen; port 0 lets the system choose.
        #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8089")]
        addr: String,
        /// Where the Unix kinds listen; the file must not exist yet.
        #[arg(long, value_name = "FILE", required_if_eq_any([("kind", "unix-stream"), ("kind", "unix-datagram")]))]
        path: Option<PathBuf>,
        #[arg(long, value_enum, default_value = "tcp")]
        kind: Kind,
        #[arg(long, value_enum, default_value = "threading")]
        mixin: Mixin,
        /// The backend to wait with; without it, the best of this system.
        #[arg(long)]
        backend: Option<Backend>,
    }

    struct MyHandler;

    impl Handler for MyHandler {
        fn setup(&mut self, request: &mut Request) {
            log::info!("Accepted connection from {}", request.client_address());
        }

        fn handle(&mut self, request: &mut Request) -> io::Result<()> {
            loop {
                let data = request.recv()?;
                if data.is_empty() {
                    return Ok(());
                }
                let message = String::from_utf8_lossy(&data);
                log::info!("Received data from {}: {message}", request.client_address());
                request.send_all(&[b"Server received your message:", &*data].concat())?;
            }
        }

        fn finish(&mut self, request: &mut Request) {
            log::info!("Closing connection from {}", request.client_address());
        }
    }

    pub fn main() -> io::Result<()> {
        let args = Args::parse();
        common::start_log();
        let mut server = Server::bind(args.kind, &args.addr, args.path.as_deref(), || MyHandler)?;
        server.serve_forever(args.mixin, args.backend)?;
        log::info!("Server shutting down.");
        Ok(())
    }
}
