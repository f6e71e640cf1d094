//! Ctrl-C during a command.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::common::{self, say};

/// Ctrl-C closes the connection, and waits until the running command has removed its incomplete
/// file.
#[derive(Clone, Default)]
pub struct CtrlC {
    came: Arc<AtomicBool>,
    in_command: Arc<Mutex<()>>,
}

impl CtrlC {
    pub fn watch(&self, sockfd: Arc<TcpStream>) -> io::Result<()> {
        let this = self.clone();
        let mut ctrl_c = common::ctrl_c()?;
        thread::Builder::new().spawn(move || {
            while ctrl_c.read(&mut [0]).is_err_and(|error| common::is_not_now(&error)) {}
            this.came.store(true, Ordering::Release);
            let _ = sockfd.shutdown(Shutdown::Both);
            let _in_no_command = this.in_command.lock();
            say!("\n谢谢使用");
            process::exit(0);
        })?;
        Ok(())
    }

    /// Runs a command; `None` if Ctrl-C ends the program.
    pub fn during(&self, command: impl FnOnce() -> io::Result<()>) -> Option<io::Result<()>> {
        let result = {
            let _in_command = self.in_command.lock();
            command()
        };
        if self.came.load(Ordering::Acquire) { None } else { Some(result) }
    }
}
