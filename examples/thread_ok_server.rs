//! The threading server (document 003, port 8888): a thread for each client; all of them end with
//! the program.
//!
//! In the original an error of a client ends its thread with a traceback.
//!
//! ```text
//! cargo run --example thread_ok_server
//! nc localhost 8888
//! ```

mod common;

use std::io::{self, Read};
use std::thread;

use clap::Parser;
use common::blocking::{CtrlC, accepted};
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
    let addr = common::resolve(&args.addr)?;
    let s = Socket::new(addr.domain(), Type::STREAM, None)?;
    s.set_reuse_address(cfg!(unix))?;
    s.bind(&addr).map_err(common::cannot_listen(&args.addr))?;
    s.listen(common::BACKLOG)?;
    s.set_nonblocking(true)?; // A client may have gone before `accept`.
    common::announce(&s)?;
    log::info!("Listen the port {}...", common::port(&s)?);
    while ctrl_c.wait_for_client(&s)? {
        let Some((c, addr)) = accepted(s.accept())? else { continue };
        let addr = common::show(&addr);
        let ctrl_c = ctrl_c.clone();
        let t = thread::Builder::new().spawn(move || {
            if let Err(error) = handle(&c, &ctrl_c) {
                log::warn!("{addr}: {error}");
            }
        });
        if let Err(error) = t {
            log::warn!("no thread for a client: {error}");
        }
    }
    log::info!("服务器退出");
    Ok(())
}
