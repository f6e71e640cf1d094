//! The non-blocking single process (document 000, section 5, port 7788): one thread tries the
//! listener and every client, again and again. Without a selector the processor never rests; at the
//! end the server prints how much of it was used.
//!
//! The original removes from the list that it iterates over, which skips a client, and tries a client
//! that has reset its connection for ever.
//!
//! ```text
//! cargo run --example nonblocking_server
//! nc localhost 7788
//! ```

mod common;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use polyselect::accept::{Batch, is_exhausted};
use signal_hook::consts::{SIGINT, SIGTERM};
use socket2::{Socket, Type};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:7788")]
    addr: String,
}

/// The processor time that the process has used, if the system reports it.
fn processor_time() -> String {
    #[cfg(target_os = "linux")]
    {
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        format!("{}.{:03} s of the processor", used.tv_sec, used.tv_nsec / 1_000_000)
    }
    #[cfg(not(target_os = "linux"))]
    String::from("and the processor never rested")
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let local_addr = common::resolve(&args.addr)?;
    let ser_socket = Socket::new(local_addr.domain(), Type::STREAM, None)?;
    ser_socket.set_reuse_address(cfg!(unix))?;
    ser_socket.bind(&local_addr).map_err(common::cannot_listen(&args.addr))?;
    ser_socket.set_nonblocking(true)?;
    ser_socket.listen(common::BACKLOG)?;
    common::announce(&ser_socket)?;
    let mut clients = Vec::new();
    let (mut looks, mut found) = (0_u64, 0_u64);
    while !stop.load(Ordering::Relaxed) {
        looks += 1;
        match Batch::with_limit(1).next(|| ser_socket.accept()) {
            Ok(Some((client_socket, client_addr))) => {
                found += 1;
                let client_addr = common::show(&client_addr);
                log::info!("一个新的客户端到来:{client_addr}");
                match client_socket.set_nonblocking(true) {
                    Ok(()) => clients.push((client_socket, client_addr)),
                    Err(error) => log::warn!("{client_addr}: {error}"),
                }
            }
            Ok(None) => {}
            Err(error) if is_exhausted(&error) => log::debug!("a connection has to wait: {error}"),
            Err(error) => return Err(error.into()),
        }
        clients.retain_mut(|(client_socket, client_addr)| {
            looks += 1;
            let mut recv_data = [0; 1024];
            match client_socket.read(&mut recv_data) {
                Err(error) if common::is_not_now(&error) => return true,
                Ok(0) => log::info!("{client_addr} 已经下线"),
                Ok(n) => {
                    found += 1;
                    log::info!("{client_addr}:b\"{}\"", recv_data[..n].escape_ascii());
                    return true;
                }
                Err(error) => log::warn!("{client_addr}: {error}"),
            }
            found += 1;
            false
        });
    }
    log::info!("{looks} looks, {} of them in vain; {}", looks - found, processor_time());
    Ok(())
}
