//! The simple `select` server of document 002 (port 9990): one `select` over the listener and all
//! clients, and three lists of the ready ones; input is echoed.
//!
//! The original answers on the wrong socket (`conn` is the latest connection, not `r`). Its
//! blocking `send` stalls all clients while one does not read. It never handles the end of a
//! stream: such a socket stays readable, and the loop spins. Here the sender gets the answer, a
//! client with unsent output moves from `inputs` to `outputs`, and one whose stream has ended is
//! closed.
//!
//! ```text
//! cargo run --example select_echo
//! cargo run --example select_echo -- --addr 127.0.0.1:0 --backend epoll
//! nc localhost 9990
//! ```

mod common;

use std::io::{self, Read};
use std::mem::MaybeUninit;

use clap::Parser;
use polyselect::accept::Acceptor;
use polyselect::{Backend, Event, Events, Interest, Key, Selector, WriteQueue};
use socket2::Socket;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:9990")]
    addr: String,
    /// The backend to wait with.
    #[arg(long, default_value_t = Backend::Select)]
    backend: Backend,
}

type Sel = Selector<Socket, WriteQueue>;

fn echo(sel: &mut Sel, r: Key, inputs: Interest) -> io::Result<()> {
    let Some(this) = sel.get_mut(r) else { return Ok(()) };
    let (mut sock, outgoing) = (this.source, this.data);
    if outgoing.is_empty() {
        let mut data = [0; 1024];
        let n = sock.read(&mut data)?;
        if n == 0 {
            let r = sel.unregister(r)?;
            log::info!("[{}]客户端断开了", common::peer(r.source()));
            return Ok(());
        }
        log::info!("收到的数据 b\"{}\"", data[..n].escape_ascii());
        outgoing.push(&data[..n]);
    }
    let all_sent = outgoing.flush(sock)?;
    let outputs = (inputs - Interest::READABLE) | Interest::WRITABLE;
    sel.modify(r, if all_sent { inputs } else { outputs })
}

/// Out-of-band data does not close a client, but it must be read, or it is reported for ever.
fn take_out_of_band(sel: &Sel, x: Key) {
    let Some(x) = sel.get(x) else { return };
    // An error means that a read has skipped the byte already.
    if let Ok(taken) = x.source().recv_out_of_band(&mut [MaybeUninit::uninit(); 8]) {
        log::info!("{taken} byte out of band from {}", common::peer(x.source()));
    }
}

fn close_if_broken(sel: &mut Sel, key: Key, result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if !common::is_not_now(&error) && sel.contains(key) => {
            let r = sel.unregister(key)?;
            log::info!("[{}]客户端断开了 ({error})", common::peer(r.source()));
        }
        _ => {}
    }
    Ok(())
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let mut sel = Sel::with_backend(args.backend)?;
    // The third list of `select`, which kqueue does not have.
    let exceptional = sel.backend().capabilities().priority;
    let inputs =
        if exceptional { Interest::READABLE | Interest::PRIORITY } else { Interest::READABLE };
    let ctrl_c = sel.register(common::ctrl_c()?, Interest::READABLE, WriteQueue::new())?;
    let server = common::listen(&args.addr)?;
    let server = sel.register(server, inputs, WriteQueue::new())?;

    let mut acceptor = Acceptor::new();
    let mut events = Events::with_capacity(1024);
    loop {
        acceptor.select(&mut sel, &mut events, None)?;
        let list = |is: fn(&Event) -> bool| -> Vec<_> {
            events.iter().filter(is).map(|event| event.key).collect()
        };
        let readable = list(Event::is_readable);
        let writeable = list(Event::is_writable);
        let exceptional = list(Event::is_priority);
        log::info!("{readable:?} {writeable:?} {exceptional:?}");
        for &r in &readable {
            if r == ctrl_c {
                return Ok(());
            }
            if r == server {
                while let Some((conn, addr)) = acceptor.next(&mut sel, r, common::accept)? {
                    log::info!("来了个新连接 {}", common::show(&addr));
                    common::register(&mut sel, conn, inputs, WriteQueue::new());
                }
            } else {
                let echoed = echo(&mut sel, r, inputs);
                close_if_broken(&mut sel, r, echoed)?;
            }
        }
        for &w in &writeable {
            let echoed = echo(&mut sel, w, inputs);
            close_if_broken(&mut sel, w, echoed)?;
        }
        for &x in &exceptional {
            take_out_of_band(&sel, x);
        }
    }
}
