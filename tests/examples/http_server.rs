//! The file server, and its clients.

mod files;
mod refusals;
mod slow_clients;

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, SystemTime};

use libtest_mimic::{Failed, Trial};
use polyselect::Backend;
use tempfile::TempDir;

use crate::support::subject::connect;
use crate::support::{Server, example};

type Story = fn(Backend) -> Result<(), Failed>;

pub fn trials() -> Vec<Trial> {
    let stories = [files::STORIES, refusals::STORIES, slow_clients::STORIES].concat();
    let on = |backend: Backend| {
        stories.clone().into_iter().map(move |(name, story)| {
            Trial::test(format!("http_server::{backend}::{name}"), move || story(backend))
        })
    };
    Backend::available().flat_map(on).collect()
}

/// The modification time of all files of a site, as in the fields of a response.
const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// The folder that is served.
struct Site {
    folder: TempDir,
    server: Server,
}

impl Site {
    fn start(backend: Backend, files: &[(&str, &[u8])]) -> io::Result<Self> {
        Self::start_with(backend, files, &[])
    }

    fn start_with(
        backend: Backend,
        files: &[(&str, &[u8])],
        arguments: &[&str],
    ) -> io::Result<Self> {
        let folder = folder(files)?;
        let mut command = example("http_server");
        command.args(["--addr", "127.0.0.1:0", "--backend", backend.name()]).args(arguments);
        command.arg(folder.path());
        Ok(Self { folder, server: Server::start_with(command) })
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        connect(self.server.address)
    }

    /// Sends these bytes on one connection, and reads until the server closes it.
    fn ask(&self, request: &[u8]) -> Result<String, Failed> {
        let mut client = self.connect()?;
        client.write_all(request)?;
        let mut answer = Vec::new();
        client.read_to_end(&mut answer)?;
        Ok(without_dates(&answer))
    }
}

fn folder(files: &[(&str, &[u8])]) -> io::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    for (name, content) in files {
        write_file(&folder.path().join(name), content)?;
    }
    Ok(folder)
}

fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content)?;
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    fs::File::options().write(true).open(path)?.set_modified(modified)
}

/// The only line that is not predictable.
fn without_dates(answer: &[u8]) -> String {
    let answer = String::from_utf8_lossy(answer);
    let lines = answer.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: "));
    lines.collect()
}

/// Reads the next response of a connection; only its head if that is the answer to `HEAD`.
fn read_response(client: &mut impl Read, is_to_head: bool) -> Result<String, Failed> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&answer).into_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length: u64 = length.map_or(Ok(0), str::parse)?;
    if !is_to_head {
        let read = client.take(length).read_to_end(&mut answer)?;
        assert_eq!(read as u64, length, "{head}");
    }
    Ok(without_dates(&answer))
}

/// Returns the response for a whole file.
fn whole(content_type: &str, content: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nLast-Modified: {MODIFIED}\r\n\
         Accept-Ranges: bytes\r\nContent-Length: {}\r\n\r\n{content}",
        content.len()
    )
}

/// Creates a sparse file, larger than memory.
fn create_huge_file(path: &Path) -> io::Result<()> {
    fs::File::create(path)?.set_len(HUGE)
}

const HUGE: u64 = 16 << 30;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}
