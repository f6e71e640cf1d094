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

use std::io::{self, Read};

use clap::Parser;
use common::blocking::{CtrlC, accepted};
use common::forking::{Children, fork};
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
    let mut children = Children::new()?;
    let local_addr = common::resolve(&args.addr)?;
    let ser_socket = Socket::new(local_addr.domain(), Type::STREAM, None)?;
    ser_socket.set_reuse_address(cfg!(unix))?;
    ser_socket.bind(&local_addr).map_err(common::cannot_listen(&args.addr))?;
    ser_socket.listen(common::BACKLOG)?;
    ser_socket.set_nonblocking(true)?; // A client may have gone before `accept`.
    common::announce(&ser_socket)?;
    log::info!("-----主进程,,等待新客户端的到来------");
    while let Some(ready) = ctrl_c.wait(&[&ser_socket, &children.ended])? {
        children.reap();
        if ready != 0 {
            continue;
        }
        let Some((new_socket, dest_addr)) = accepted(ser_socket.accept())? else { continue };
        let dest_addr = common::show(&dest_addr);
        log::info!("-----主进程,,接下来创建一个新的进程负责数据处理[{dest_addr}]-----");
        let client = fork(|| {
            let dealt = |ctrl_c| deal_with_client(&new_socket, &dest_addr, &ctrl_c);
            if let Err(error) = ctrl_c.of_child().and_then(dealt) {
                log::warn!("[{dest_addr}]: {error}");
            }
        });
        match client {
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
