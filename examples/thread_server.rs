//! The multi-thread server (document 000, section 4, port 7788): a thread for each client, all in
//! one process with shared memory.
//!
//! In the original a client's error ends its thread with a traceback.
//!
//! ```text
//! cargo run --example thread_server
//! nc localhost 7788
//! ```

mod common;

use std::thread;

use clap::Parser;
use common::blocking::{CtrlC, deal_with_client, listen, next_client};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:7788")]
    addr: String,
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    common::start_log();
    let ctrl_c = CtrlC::new()?;
    let ser_socket = listen(&args.addr)?;
    let mut clients = Vec::new();
    loop {
        log::info!("-----主进程,,等待新客户端的到来------");
        let Some((new_socket, dest_addr)) = next_client(&ser_socket, &ctrl_c)? else { break };
        log::info!("-----主进程,,接下来创建一个新的线程负责数据处理[{dest_addr}]-----");
        let stop = ctrl_c.clone();
        // The socket has moved to the thread, so this one cannot close it.
        let client =
            thread::Builder::new().spawn(move || deal_with_client(&new_socket, dest_addr, &stop));
        match client {
            Ok(client) => clients.push(client),
            Err(error) => log::warn!("[{dest_addr}]: no thread for it: {error}"),
        }
        clients.retain(|client| !client.is_finished());
    }
    for client in clients {
        let _ = client.join(); // The panic hook has printed a thread's panic.
    }
    Ok(())
}
