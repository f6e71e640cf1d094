//! An `EventLoop` inside glib's main loop, as in a GTK program. Not in the documents. Tasks echo on
//! the inner loop; a timer of glib reports the bytes every second, and glib handles Ctrl-C.
//! `glue.rs` holds all the integration code.
//!
//! ```text
//! cargo run --features async --example in_glib
//! nc localhost 10007
//! ```

#[path = "../common/mod.rs"]
mod common;
#[cfg(unix)]
mod glib;
#[cfg(unix)]
mod glue;
#[cfg(unix)]
#[path = "../common/library.rs"]
mod library;

#[cfg(unix)]
mod server {
    #![allow(unsafe_code)] // Callbacks of C.

    use std::cell::Cell;
    use std::ffi::{c_int, c_void};
    use std::io;
    use std::net::TcpStream;
    use std::rc::Rc;

    use clap::Parser;
    use polyselect::asyncio::{self, Async};
    use polyselect::{Backend, EventLoop, signal};

    use crate::common;
    use crate::glib::CONTINUE;
    use crate::glue::Program;

    #[derive(Parser)]
    struct Args {
        /// Where to listen; port 0 lets the system choose.
        #[arg(long, value_name = "HOST:PORT", default_value = "localhost:10007")]
        addr: String,
        /// The backend of the inner loop.
        #[arg(long)]
        backend: Option<Backend>,
    }

    /// The number of bytes echoed.
    type Bytes = Rc<Cell<u64>>;

    async fn echo(stream: Async<TcpStream>, total: Bytes) -> io::Result<()> {
        let (mut reader, mut writer) = stream.split();
        let mut bytes = [0; 4096];
        loop {
            let count = reader.read(&mut bytes).await?;
            if count == 0 {
                return writer.close().await;
            }
            writer.write(&bytes[..count])?;
            writer.drain().await?;
            total.update(|total| total + count as u64);
        }
    }

    unsafe extern "C" fn report(program: *mut c_void) -> c_int {
        // SAFETY: `Program::every` passes it.
        let program = unsafe { &*program.cast::<Program<Bytes>>() };
        log::info!("{} bytes echoed", program.state.get());
        CONTINUE
    }

    unsafe extern "C" fn stop(program: *mut c_void) -> c_int {
        // SAFETY: `Program::on_signal` passes it.
        let program = unsafe { &*program.cast::<Program<Bytes>>() };
        program.stop();
        CONTINUE
    }

    pub(crate) fn main() -> io::Result<()> {
        let args = Args::parse();
        common::start_log();
        let bytes = Bytes::default();
        let mut event_loop = match args.backend {
            Some(backend) => EventLoop::with_backend(backend, bytes.clone())?,
            None => EventLoop::new(bytes.clone())?,
        };
        let (host, port) = common::host_and_port(&args.addr)?;
        let start =
            asyncio::start_server_host(host, port, move |stream| echo(stream, bytes.clone()));
        let server = event_loop.block_on(start)?.map_err(common::cannot_listen(&args.addr))?;
        let program = Program::new(event_loop)?;
        program.every(1, report);
        for number in [signal::SIGINT, signal::SIGTERM] {
            program.on_signal(number, stop);
        }
        for addr in server.local_addrs() {
            common::announce_at(addr);
        }
        program.run()
    }
}

#[cfg(unix)]
fn main() -> Result<(), common::Failure> {
    Ok(server::main()?)
}

#[cfg(not(unix))]
fn main() {
    eprintln!("no backend of this system has a descriptor");
    std::process::exit(1);
}
