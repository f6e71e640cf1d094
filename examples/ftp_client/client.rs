//! The client's requests, and the server's answers.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::common::ftp::Frame;
use super::common::printing::{print, say};
use super::common::text::Decoder;

pub struct FtpClient {
    pub sockfd: Arc<TcpStream>,
    pub patience: Duration,
}

impl FtpClient {
    pub fn send(&self, frame: &Frame) -> io::Result<()> {
        frame.write(&*self.sockfd)
    }

    /// Waits up to `first` for the server's next frame.
    fn receive(&self, first: Option<Duration>) -> io::Result<Frame> {
        let closed =
            || io::Error::new(io::ErrorKind::UnexpectedEof, "the server has closed the connection");
        Frame::receive(&self.sockfd, first, self.patience)?.ok_or_else(closed)
    }

    /// Sends a request. Returns the size that the answer promises, or `None` after printing a
    /// refusal.
    pub fn ask(&self, request: &Frame) -> io::Result<Option<u64>> {
        self.send(request)?;
        self.reply()
    }

    pub fn reply(&self) -> io::Result<Option<u64>> {
        match self.receive(Some(self.patience))? {
            Frame::Ok(size) => Ok(Some(size)),
            Frame::Refused(why) => {
                say!("{why}");
                Ok(None)
            }
            other => Err(other.unexpected()),
        }
    }

    pub fn do_list(&self) -> io::Result<()> {
        let Some(size) = self.ask(&Frame::List)? else { return Ok(()) };
        let mut decoder = Decoder::default();
        let is_whole = self.receive_content(size, |bytes| {
            if let Some(names) = decoder.decode(bytes) {
                print(format_args!("{names}"));
            }
            Ok(())
        })?;
        if is_whole {
            say!();
        }
        Ok(())
    }

    /// Returns whether the whole file arrived; if not, the reason has been printed.
    pub fn receive_content(
        &self,
        size: u64,
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let mut left = size;
        loop {
            match self.receive(None)? {
                Frame::Data(bytes) if bytes.len() as u64 <= left => {
                    sink(&bytes)?;
                    left -= bytes.len() as u64;
                }
                Frame::End if left == 0 => return Ok(true),
                Frame::Refused(why) => {
                    say!("{why}");
                    return Ok(false);
                }
                other => return Err(other.unexpected()),
            }
        }
    }

    pub fn do_quit(&self) {
        // An error is ignored: the client is leaving anyway.
        let _ = self.send(&Frame::Quit);
        say!("谢谢使用");
    }
}
