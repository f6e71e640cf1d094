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

use clap::Parser;
use common::blocking::{CtrlC, answer_ok, listen, next_client};
use common::forking::{fork, ignore_children};

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
    // On a system without `fork` it fails before a client connects.
    ignore_children()?; // 处理僵尸进程
    let listener = listen(&args.addr)?;
    log::info!("Listen the port {}...", listener.local_addr()?.port());
    let mut s = Some(listener);
    while let Some(listener) = &s
        && let Some((c, addr)) = next_client(listener, &ctrl_c)?
    {
        let handled = fork(|| {
            s = None; // The child's copy; the parent's stays open.
            let result = ctrl_c.of_child().and_then(|ctrl_c| answer_ok(&c, &ctrl_c));
            if let Err(error) = result {
                log::warn!("{addr}: {error}");
            }
        });
        if let Err(error) = handled {
            log::warn!("{addr}: no process for it: {error}");
        }
        // The child has a copy of the connection; the parent's is not used.
        drop(c);
    }
    Ok(())
}
