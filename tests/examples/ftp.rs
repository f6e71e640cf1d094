//! The file server in both of its models, and its client.

mod breaking_off;
mod client;
mod document;
// rustix cannot return the name of a new terminal on these systems.
#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
mod progress;
mod sessions;

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use libtest_mimic::{Failed, Trial};
use polyselect::Backend;
use tempfile::TempDir;

use crate::support::subject::connect;
use crate::support::{Server, example};

/// The model of the server.
#[derive(Clone, Copy)]
enum Model {
    Threads,
    EventLoop(Backend),
}

type Story = fn(Model) -> Result<(), Failed>;

pub fn trials() -> Vec<Trial> {
    let stories = [sessions::STORIES, breaking_off::STORIES, document::STORIES].concat();
    let models = [Model::Threads].into_iter().chain(Backend::available().map(Model::EventLoop));
    let mut trials =
        [client::trials(), document::trials()].into_iter().flatten().collect::<Vec<_>>();
    #[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
    trials.push(progress::trial());
    for model in models {
        let model_name = match model {
            Model::Threads => "threads".into(),
            Model::EventLoop(backend) => format!("event_loop::{backend}"),
        };
        for &(name, story) in &stories {
            trials.push(Trial::test(format!("ftp::{model_name}::{name}"), move || story(model)));
        }
    }
    trials
}

fn command(model: Model, folder: &Path) -> Command {
    let mut command = example("ftp_server");
    command.args(["--addr", "127.0.0.1:0"]).stdin(Stdio::null());
    if let Model::EventLoop(backend) = model {
        command.args(["--model", "event-loop", "--backend", backend.name()]);
    }
    command.arg(folder);
    command
}

/// A server and its folder.
struct Library {
    folder: TempDir,
    server: Server,
}

impl Library {
    fn start(model: Model) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::start_with(command(model, folder.path()));
        Ok(Self { folder, server })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        connect(self.server.address)
    }

    /// The names in the folder, hidden or not.
    fn names(&self) -> io::Result<Vec<String>> {
        names(self.folder.path())
    }

    /// Starts the client with this keyboard input.
    fn client(&self, folder: &Path, keyboard: &str) -> io::Result<Output> {
        run_client(&self.server.address.to_string(), folder, keyboard)
    }
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().display().to_string());
    let mut names = fs::read_dir(folder)?.map(name).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn run_client(address: &str, folder: &Path, keyboard: &str) -> io::Result<Output> {
    run_client_with(address, folder, keyboard, &[])
}

fn run_client_with(
    address: &str,
    folder: &Path,
    keyboard: &str,
    arguments: &[&str],
) -> io::Result<Output> {
    let mut command = example("ftp_client");
    command.arg(address).args(arguments).current_dir(folder).stdin(Stdio::piped());
    let mut client = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // A client that ends early does not read all of it.
    let _ = client.stdin.take().expect("is a pipe").write_all(keyboard.as_bytes());
    client.wait_with_output()
}

const MENU: &str = "\n=========命令选项==========\n\
                    ****      list         ****\n\
                    ****    get file       ****\n\
                    ****    put file       ****\n\
                    ****      quit         ****\n\
                    =============================\n\
                    输入命令:";

fn frame(letter: char, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("is short");
    [&[letter as u8][..], &length.to_be_bytes(), bytes].concat()
}

fn ok(size: u64) -> Vec<u8> {
    frame('O', &size.to_be_bytes())
}

fn refused(why: &str) -> Vec<u8> {
    frame('E', why.as_bytes())
}

fn read_frame(source: &mut impl Read) -> io::Result<(char, Vec<u8>)> {
    let mut prefix = [0; 5];
    source.read_exact(&mut prefix)?;
    let [letter, length @ ..] = prefix;
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    source.read_exact(&mut bytes)?;
    Ok((letter.into(), bytes))
}

/// Reads as many bytes as expected, and fails if they differ.
fn expect(client: &mut TcpStream, expected: &[u8]) -> Result<(), Failed> {
    let mut answer = vec![0; expected.len()];
    client.read_exact(&mut answer)?;
    assert_eq!(answer.escape_ascii().to_string(), expected.escape_ascii().to_string());
    Ok(())
}

/// Creates a sparse file, larger than memory.
fn create_huge_file(path: &Path) -> io::Result<()> {
    fs::File::create(path)?.set_len(HUGE)
}

const HUGE: u64 = 16 << 30;
