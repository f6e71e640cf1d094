//! The fork server (document 003, port 8888): a process for each client by `fork`, and `SIGCHLD`
//! ignored, so that the system reaps them.
//!
//! In the original a process ends with a traceback at Ctrl-C, when its client resets the
//! connection, and when text is not UTF-8.
//!
//! ```text
//! cargo run --example fork_server
//! nc localhost 8888
//! ```

mod common;

use std::io::{self, Read};

use clap::Parser;
use common::blocking::{CtrlC, accepted};
use common::forking::{fork, ignore_children};
use common::text::Decoder;
use socket2::{Socket, Type};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:8888")]
    addr: String,
}

/// Serves a client.
fn handle(mut c: &Socket, ctrl_c: &CtrlC) -> io::Result<()> {
    let (mut buffer, mut decoder) = ([0; 1024], Decoder::default());
    while ctrl_c.wait_for_data(c)? {
        let length = c.read(&mut buffer)?;
        let data = &buffer[..length];
        if let Some(text) = decoder.decode(data) {
            log::info!("{text}");
        }
        if data.is_empty() || !ctrl_c.wait_for_room(c)? {
            break;
        }
        c.send(b"OK")?;
    }
    Ok(())
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    common::start_log();
    let ctrl_c = CtrlC::new()?;
    // On a system without `fork` it fails before a client connects.
    ignore_children()?; // 处理僵尸进程
    let addr = common::resolve(&args.addr)?;
    let s = Socket::new(addr.domain(), Type::STREAM, None)?;
    s.set_reuse_address(cfg!(unix))?;
    s.bind(&addr).map_err(common::cannot_listen(&args.addr))?;
    s.listen(common::BACKLOG)?;
    s.set_nonblocking(true)?; // A client may have gone before `accept`.
    common::announce(&s)?;
    log::info!("Listen the port {}...", common::port(&s)?);
    let mut s = Some(s);
    while let Some(listener) = &s
        && ctrl_c.wait_for_client(listener)?
    {
        let Some((c, addr)) = accepted(listener.accept())? else { continue };
        let addr = common::show(&addr);
        let pid = fork(|| {
            s = None; // The child's copy; the parent's stays open.
            let result = ctrl_c.of_child().and_then(|ctrl_c| handle(&c, &ctrl_c));
            if let Err(error) = result {
                log::warn!("{addr}: {error}");
            }
        });
        if let Err(error) = pid {
            log::warn!("{addr}: no process for it: {error}");
        }
        // The child has a copy of the connection; the parent's is not used.
        drop(c);
    }
    Ok(())
}
