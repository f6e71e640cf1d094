//! Sending and receiving files.

use std::fs::File;
use std::io;
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::client::FtpClient;
use super::common::ftp::content::Content;
use super::common::ftp::incoming::Incoming;
use super::common::ftp::{Frame, NO_SUCH_FILE, cannot_store};
use super::common::printing::say;

impl FtpClient {
    pub fn do_get(&self, filename: &str) -> io::Result<()> {
        // A name that would be written elsewhere is not requested.
        if Path::new(filename).file_name().is_none_or(|name| name != filename) {
            say!("{NO_SUCH_FILE}");
            return Ok(());
        }
        let mut file = match Incoming::create(Path::new(".")) {
            Ok(file) => file,
            Err(error) => {
                say!("{}", cannot_store(&error));
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
            say!("{}", cannot_store(&error));
        }
        Ok(())
    }

    pub fn do_put(&self, filename: &str) -> io::Result<()> {
        let path = Path::new(filename);
        let name = path.file_name().and_then(|name| name.to_str());
        let is_file = path.metadata().is_ok_and(|found| found.is_file());
        let (Some(name), true) = (name, is_file) else {
            say!("{NO_SUCH_FILE}");
            return Ok(());
        };
        let (file, size) =
            match File::open(path).and_then(|file| Ok((file.metadata()?.len(), file))) {
                Ok((size, file)) => (file, size),
                Err(error) => {
                    say!("{name}: {error}");
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
                    say!("{why}");
                    return Ok(());
                }
                _ => {
                    progress.abandon();
                    return self.reply().map(drop);
                }
            }
        }
    }
}

/// Shown if the output is a terminal.
fn progress_bar(size: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stdout())
        .with_style(style.expect("a template without mistakes"))
}
