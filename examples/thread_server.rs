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

use std::io::{self, Read};
use std::thread;

use clap::Parser;
use common::blocking::{CtrlC, accepted};
use socket2::{Socket, Type};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:7788")]
    addr: String,
}

fn deal_with_client(mut new_socket: &Socket, dest_addr: &str, ctrl_c: &CtrlC) -> io::Result<()> {
    let mut buffer = [0; 1024];
    while ctrl_c.wait_for_data(new_socket)? {
        let length = new_socket.read(&mut buffer)?;
        let recv_data = &buffer[..length];
        if !recv_data.is_empty() {
            log::info!("recv[{dest_addr}]:b\"{}\"", recv_data.escape_ascii());
        } else {
            log::info!("[{dest_addr}]客户端已经关闭");
            break;
        }
    }
    Ok(())
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    common::start_log();
    let ctrl_c = CtrlC::new()?;
    let local_addr = common::resolve(&args.addr)?;
    let ser_socket = Socket::new(local_addr.domain(), Type::STREAM, None)?;
    ser_socket.set_reuse_address(cfg!(unix))?;
    ser_socket.bind(&local_addr).map_err(common::cannot_listen(&args.addr))?;
    ser_socket.listen(common::BACKLOG)?;
    ser_socket.set_nonblocking(true)?; // A client may have gone before `accept`.
    common::announce(&ser_socket)?;
    let mut clients = Vec::new();
    loop {
        log::info!("-----主进程,,等待新客户端的到来------");
        if !ctrl_c.wait_for_client(&ser_socket)? {
            break;
        }
        let Some((new_socket, dest_addr)) = accepted(ser_socket.accept())? else { continue };
        let dest_addr = common::show(&dest_addr);
        log::info!("-----主进程,,接下来创建一个新的线程负责数据处理[{dest_addr}]-----");
        let ctrl_c = ctrl_c.clone();
        // The socket moves to the thread, so it cannot be closed here.
        let client = thread::Builder::new().spawn(move || {
            if let Err(error) = deal_with_client(&new_socket, &dest_addr, &ctrl_c) {
                log::warn!("[{dest_addr}]: {error}");
            }
        });
        match client {
            Ok(client) => clients.push(client),
            Err(error) => log::warn!("no thread for a client: {error}"),
        }
        clients.retain(|client| !client.is_finished());
    }
    for client in clients {
        let _ = client.join(); // The panic hook has printed a thread's panic.
    }
    Ok(())
}
