//! The output of `ftp_client` at a terminal.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::Stdio;

use libtest_mimic::{Failed, Trial};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::{Library, MENU, Model};
use crate::support::{example, wait};

pub fn trial() -> Trial {
    Trial::test("ftp::client::shows_progress_at_a_terminal", shows_progress_at_a_terminal)
}

fn shows_progress_at_a_terminal() -> Result<(), Failed> {
    let library = Library::start(Model::Threads)?;
    fs::write(library.path("big"), vec![b'x'; 3 << 20])?;
    let here = tempfile::tempdir()?;
    let keyboard = "get big\nquit\n";
    let output = library.client(here.path(), keyboard)?;
    assert_eq!(String::from_utf8(output.stdout)?, format!("{MENU}{MENU}谢谢使用\n"));

    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&screen)?;
    unlockpt(&screen)?;
    let name = ptsname(&screen, Vec::new())?;
    let terminal = File::options().read(true).write(true).open(name.to_str()?)?;
    let mut command = example("ftp_client");
    command.arg(library.server.address.to_string()).current_dir(here.path());
    command.env("TERM", "xterm").stdin(Stdio::piped()).stdout(terminal);
    let mut client = command.spawn()?;
    // The command holds the other end of the terminal, too.
    drop(command);
    client.stdin.take().ok_or("a pipe")?.write_all(keyboard.as_bytes())?;
    let mut shown = Vec::new();
    let mut screen = File::from(screen);
    let mut chunk = [0; 4096];
    // Reading from a terminal whose other end is closed returns an error on some systems.
    while let Ok(n @ 1..) = screen.read(&mut chunk) {
        shown.extend(&chunk[..n]);
    }
    assert!(wait(&mut client).success());
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.contains("3.00 MiB/3.00 MiB"), "{shown}");
    library.server.stop();
    Ok(())
}
