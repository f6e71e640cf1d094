//! The multi-process server (document 000, section 3, port 7788): a process for each client. Memory
//! is copied on write only; a process is still the most expensive way to serve a client.
//!
//! In the original a process that has ended stays a zombie until the next one is started.
//!
//! ```text
//! cargo run --example process_server
//! nc localhost 7788
//! ```

mod common;

use clap::Parser;
use common::blocking::{CtrlC, Incoming, accept, deal_with_client, listen};
use common::forking::{Children, fork};

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
    let mut children = Children::new()?;
    let ser_socket = listen(&args.addr)?;
    log::info!("-----主进程,,等待新客户端的到来------");
    loop {
        let (new_socket, dest_addr) = match accept(&ser_socket, &children.ended, &ctrl_c)? {
            Incoming::Client(conn, addr) => (conn, addr),
            Incoming::Other => {
                children.reap();
                continue;
            }
            Incoming::Stop => break,
        };
        log::info!("-----主进程,,接下来创建一个新的进程负责数据处理[{dest_addr}]-----");
        // Children that ended while this process waited for a client are reaped first.
        children.reap();
        let work = || match ctrl_c.of_child() {
            Ok(ctrl_c) => deal_with_client(&new_socket, dest_addr, &ctrl_c),
            Err(error) => log::warn!("[{dest_addr}]: {error}"),
        };
        match fork(work) {
            Ok(client) => children.running.push(client),
            Err(error) => log::warn!("[{dest_addr}]: no process for it: {error}"),
        }
        // The child has a copy; while this one exists, the connection stays open.
        drop(new_socket);
        log::info!("-----主进程,,等待新客户端的到来------");
    }
    children.join();
    Ok(())
}
