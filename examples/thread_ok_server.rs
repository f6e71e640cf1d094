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

use std::thread;

use clap::Parser;
use common::blocking::{CtrlC, answer_ok, listen, next_client};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8888")]
    addr: String,
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    common::start_log();
    let ctrl_c = CtrlC::new()?;
    let s = listen(&args.addr)?;
    log::info!("Listen the port {}...", s.local_addr()?.port());
    while let Some((c, addr)) = next_client(&s, &ctrl_c)? {
        let stop = ctrl_c.clone();
        let t = thread::Builder::new().spawn(move || {
            if let Err(error) = answer_ok(&c, &stop) {
                log::warn!("{addr}: {error}");
            }
        });
        if let Err(error) = t {
            log::warn!("{addr}: no thread for it: {error}");
        }
    }
    log::info!("服务器退出");
    Ok(())
}
