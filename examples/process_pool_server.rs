//! The process pool (document 000, section 2, port 7788): the workers are started before the first
//! client connects, all accept from the same listener, and each serves one client at a time.
//!
//! The original's `Pool(targetc=…)` raises `TypeError`. Here a worker that dies is replaced.
//!
//! ```text
//! cargo run --example process_pool_server -- --workers 3
//! nc localhost 7788
//! ```

mod common;

use std::io::{self, Read};
use std::process;

use clap::Parser;
use common::blocking::{CtrlC, accepted};
use common::forking::{Children, fork};
use socket2::{Socket, Type};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:7788")]
    addr: String,
    /// The number of processes, and of clients that are served at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..))]
    workers: u8,
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

/// Runs a worker, which is the blocking server.
fn work(ser_socket: &Socket, ctrl_c: &CtrlC) -> io::Result<()> {
    while ctrl_c.wait_for_client(ser_socket)? {
        // Each client wakes all workers, and one of them gets it.
        let Some((new_socket, dest_addr)) = accepted(ser_socket.accept())? else { continue };
        let dest_addr = common::show(&dest_addr);
        log::info!("-----进程[{}]负责数据处理[{dest_addr}]-----", process::id());
        if let Err(error) = deal_with_client(&new_socket, &dest_addr, ctrl_c) {
            log::warn!("[{dest_addr}]: {error}");
        }
    }
    Ok(())
}

/// Waits until workers have died, and returns their number; `None` if the program is to stop.
fn wait_for_the_dead(children: &mut Children, ctrl_c: &CtrlC) -> io::Result<Option<usize>> {
    while ctrl_c.wait(&[&children.ended])?.is_some() {
        // SIGCHLD also reports a child that is stopped or continued.
        match children.reap() {
            0 => {}
            died => return Ok(Some(died)),
        }
    }
    Ok(None)
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
    loop {
        while children.running.len() < args.workers.into() {
            let worker = fork(|| {
                let result = ctrl_c.of_child().and_then(|ctrl_c| work(&ser_socket, &ctrl_c));
                if let Err(error) = result {
                    log::warn!("worker {}: {error}", process::id());
                }
            });
            match worker {
                Ok(worker) => children.running.push(worker),
                Err(error) if children.running.is_empty() => return Err(error.into()),
                Err(error) => {
                    log::warn!("one worker less, until the next one dies: {error}");
                    break;
                }
            }
        }
        log::info!("-----主进程,,{}个进程等待新客户端的到来------", args.workers);
        match wait_for_the_dead(&mut children, &ctrl_c)? {
            Some(died) => log::warn!("{died} of the workers died"),
            None => break,
        }
    }
    children.join();
    Ok(())
}
