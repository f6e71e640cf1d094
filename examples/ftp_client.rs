//! The client of document 003's file server (FTP): a menu, and the commands `list`, `get FILE`,
//! `put FILE` and `quit` from the keyboard.
//!
//! The original takes a broken connection for the end of the file, or waits for ever; here a file
//! appears under its name when all of it has come. It takes the last word for the name, so names
//! with spaces do not work; here the name is all that follows the command.
//!
//! ```text
//! cargo run --example ftp_client
//! cargo run --example ftp_client -- localhost:8080
//! ```

mod common;

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use clap::Parser;
use common::ftp::content::Content;
use common::ftp::incoming::Incoming;
use common::ftp::{Frame, NO_SUCH_FILE, cannot_store};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

#[derive(Parser)]
struct Args {
    /// The server's address.
    #[arg(value_name = "HOST:PORT", default_value = "localhost:8080")]
    addr: String,
}

struct FtpClient {
    sockfd: Arc<TcpStream>,
}

impl FtpClient {
    fn send(&self, frame: &Frame) -> io::Result<()> {
        frame.write(&*self.sockfd)
    }

    fn receive(&self) -> io::Result<Frame> {
        let closed =
            || io::Error::new(io::ErrorKind::UnexpectedEof, "the server has closed the connection");
        Frame::read(&*self.sockfd)?.ok_or_else(closed)
    }

    /// Sends a request; what the answer promises, or `None` if it is no, which is printed.
    fn ask(&self, request: &Frame) -> io::Result<Option<u64>> {
        self.send(request)?;
        self.reply()
    }

    fn reply(&self) -> io::Result<Option<u64>> {
        match self.receive()? {
            Frame::Ok(size) => Ok(Some(size)),
            Frame::Refused(why) => {
                println!("{why}");
                Ok(None)
            }
            other => Err(other.unexpected()),
        }
    }

    fn do_list(&self) -> io::Result<()> {
        let Some(size) = self.ask(&Frame::List)? else { return Ok(()) };
        let mut stdout = io::stdout().lock();
        if self.receive_content(size, |bytes| stdout.write_all(bytes))? {
            writeln!(stdout)?;
        }
        Ok(())
    }

    fn do_get(&self, filename: &str) -> io::Result<()> {
        // No server should be asked for a file that would be written elsewhere.
        if Path::new(filename).file_name().is_none_or(|name| name != filename) {
            println!("{NO_SUCH_FILE}");
            return Ok(());
        }
        let mut file = match Incoming::create(Path::new(".")) {
            Ok(file) => file,
            Err(error) => {
                println!("{}", cannot_store(&error));
                return Ok(());
            }
        };
        let Some(size) = self.ask(&Frame::Get(filename.into()))? else { return Ok(()) };
        let progress = progress_bar(size);
        let is_whole = self.receive_content(size, |bytes| {
            file.write(bytes);
            progress.inc(bytes.len() as u64);
            Ok(())
        })?;
        progress.abandon();
        if is_whole && let Err(error) = file.replace(Path::new(filename)) {
            println!("{}", cannot_store(&error));
        }
        Ok(())
    }

    /// Says whether all has come; why not has been printed.
    fn receive_content(
        &self,
        size: u64,
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let mut left = size;
        loop {
            match self.receive()? {
                Frame::Data(bytes) if bytes.len() as u64 <= left => {
                    sink(&bytes)?;
                    left -= bytes.len() as u64;
                }
                Frame::End if left == 0 => return Ok(true),
                Frame::Refused(why) => {
                    println!("{why}");
                    return Ok(false);
                }
                other => return Err(other.unexpected()),
            }
        }
    }

    fn do_put(&self, filename: &str) -> io::Result<()> {
        let path = Path::new(filename);
        let name = path.file_name().and_then(|name| name.to_str());
        let is_file = path.metadata().is_ok_and(|found| found.is_file());
        let (Some(name), true) = (name, is_file) else {
            println!("{NO_SUCH_FILE}");
            return Ok(());
        };
        let (file, size) =
            match File::open(path).and_then(|file| Ok((file.metadata()?.len(), file))) {
                Ok((size, file)) => (file, size),
                Err(error) => {
                    println!("{filename}: {error}");
                    return Ok(());
                }
            };
        if self.ask(&Frame::Put(name.into()))?.is_none() {
            return Ok(());
        }
        let progress = progress_bar(size);
        let mut content = Content::new(file, size);
        loop {
            let frame = content.next_frame();
            self.send(&frame)?;
            progress.set_position(size - content.left());
            match frame {
                Frame::Data(_) => {}
                Frame::Refused(why) => {
                    println!("{why}");
                    return Ok(());
                }
                _ => {
                    progress.abandon();
                    return self.reply().map(drop);
                }
            }
        }
    }

    fn do_quit(&self) {
        // Who leaves does not mind whether the server is still there.
        let _ = self.send(&Frame::Quit);
        println!("谢谢使用");
    }
}

/// Shown if the output is a terminal.
fn progress_bar(size: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stdout())
        .with_style(style.expect("a template without mistakes"))
}

/// Ctrl-C ends the connection, and waits until the command in work has cleared away half a file.
#[derive(Clone, Default)]
struct CtrlC {
    came: Arc<AtomicBool>,
    in_command: Arc<Mutex<()>>,
}

impl CtrlC {
    fn watch(&self, sockfd: Arc<TcpStream>) -> io::Result<()> {
        let this = self.clone();
        let mut ctrl_c = common::ctrl_c()?;
        thread::Builder::new().spawn(move || {
            while ctrl_c.read(&mut [0]).is_err_and(|error| common::is_not_now(&error)) {}
            this.came.store(true, Ordering::Release);
            let _ = sockfd.shutdown(Shutdown::Both);
            let _in_no_command = this.in_command.lock();
            println!("\n谢谢使用");
            process::exit(0);
        })?;
        Ok(())
    }

    /// Runs a command; `None` if Ctrl-C ends the program.
    fn during(&self, command: impl FnOnce() -> io::Result<()>) -> Option<io::Result<()>> {
        let result = {
            let _in_command = self.in_command.lock();
            command()
        };
        if self.came.load(Ordering::Acquire) { None } else { Some(result) }
    }
}

fn print_menu() -> io::Result<()> {
    println!("\n=========命令选项==========");
    println!("****      list         ****");
    println!("****    get file       ****");
    println!("****    put file       ****");
    println!("****      quit         ****");
    println!("=============================");
    print!("输入命令:");
    io::stdout().flush()
}

/// A line from the keyboard, without blanks around it; `None` at the end.
fn input() -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if io::stdin().lock().read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim().to_owned()))
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let sockfd = Arc::new(TcpStream::connect(&args.addr).map_err(|error| {
        io::Error::new(error.kind(), format!("{} cannot be reached: {error}", args.addr))
    })?);
    let ctrl_c = CtrlC::default();
    ctrl_c.watch(Arc::clone(&sockfd))?;
    let ftp = FtpClient { sockfd };
    loop {
        print_menu()?;
        let Some(cmd) = input()? else {
            println!();
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
                println!("请输入正确命令");
                Ok(())
            }
        });
        match result {
            // The other thread ends the program.
            None => thread::park(),
            Some(result) => result?,
        }
        if cmd == "quit" {
            return Ok(());
        }
    }
}
