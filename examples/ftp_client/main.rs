//! The client of document 003's file server (FTP): a menu, and the commands `list`, `get FILE`,
//! `put FILE` and `quit` from the keyboard; blocking, one command after the other.
//!
//! The original takes a broken connection for the end of the file, or waits for ever; here a file
//! appears under its name once all of it has arrived. The original takes the last word for the
//! name, so names with spaces do not work; here the name is everything after the command. The
//! document's server understands no frames and does not answer: after a short wait this client says so
//! and ends.
//!
//! ```text
//! cargo run --example ftp_server -- LIBRARY
//! cargo run --example ftp_client
//! cargo run --example ftp_client -- localhost:8080
//! ```

#[path = "../common/mod.rs"]
mod common;

mod client;
mod ctrl_c;
mod files;

use std::io::{self, BufRead};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use client::FtpClient;
use common::printing::{print, say};
use ctrl_c::CtrlC;

#[derive(Parser)]
struct Args {
    /// The server's address.
    #[arg(value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    addr: String,
    /// How long to wait for the server's answer to a command.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    patience: u32,
}

fn print_menu() {
    say!("\n=========命令选项==========");
    say!("****      list         ****");
    say!("****    get file       ****");
    say!("****    put file       ****");
    say!("****      quit         ****");
    say!("=============================");
    print(format_args!("输入命令:"));
}

/// A line from the keyboard, without blanks around it; `None` at the end.
fn input() -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if io::stdin().lock().read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim().to_owned()))
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let sockfd = Arc::new(common::connect(&args.addr)?);
    let ctrl_c = CtrlC::default();
    ctrl_c.watch(Arc::clone(&sockfd))?;
    let ftp = FtpClient { sockfd, patience: Duration::from_secs(args.patience.into()) };
    loop {
        print_menu();
        let Some(cmd) = input()? else {
            say!();
            ftp.do_quit();
            return Ok(());
        };
        let (name, argument) = cmd.split_once(char::is_whitespace).unwrap_or((&cmd, ""));
        let argument = argument.trim_start();
        let result = ctrl_c.during(|| match (name, argument) {
            ("list", "") => ftp.do_list(),
            ("get", filename) if !filename.is_empty() => ftp.do_get(filename),
            ("put", filename) if !filename.is_empty() => ftp.do_put(filename),
            ("quit", "") => {
                ftp.do_quit();
                Ok(())
            }
            _ => {
                say!("请输入正确命令");
                Ok(())
            }
        });
        match result {
            // The other thread ends the program.
            None => thread::park(),
            Some(result) => result.map_err(common::about(&args.addr))?,
        }
        if cmd == "quit" {
            return Ok(());
        }
    }
}
