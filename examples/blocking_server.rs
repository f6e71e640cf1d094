//! The single-process server (document 000, section 1, port 7788): blocking, one client at a time;
//! the others wait in the listener's queue until that client has disconnected.
//!
//! In the original an error of one client ends the server.
//!
//! ```text
//! cargo run --example blocking_server
//! nc localhost 7788
//! ```

mod common;

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
    loop {
        log::info!("-----主进程,,等待新客户端的到来------");
        let Some((new_socket, dest_addr)) = next_client(&ser_socket, &ctrl_c)? else {
            return Ok(());
        };
        log::info!("-----主进程,,接下来负责数据处理[{dest_addr}]-----");
        deal_with_client(&new_socket, dest_addr, &ctrl_c);
    }
}
