//! `psql_notify`: a PostgreSQL server in a folder of its own, which psql talks to.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use libtest_mimic::Failed;
use polyselect::Backend;

use crate::Case;
use crate::support::{Program, SURELY, output_of, skip};

pub const CASES: &[Case] = &[("psql_notify_receives_the_notifications_of_psql", "psql", receives)];

/// A user without rights, because the server refuses to run as root.
const UNPRIVILEGED: u32 = 65534;

struct Server {
    child: Child,
    folder: tempfile::TempDir,
    programs: PathBuf,
}

/// Where the programs of the server are: on the path, or where Debian has them.
fn programs() -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<_> = debian.map(|version| version.path().join("bin")).collect();
    folders.extend(std::env::split_paths(&std::env::var_os("PATH")?));
    let has =
        |folder: &PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).exists());
    folders.into_iter().find(has)
}

/// A command of the server's user.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null());
    if rustix::process::getuid().is_root() {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command
}

impl Server {
    fn start() -> Result<Self, String> {
        let said = |error: std::io::Error| error.to_string();
        let programs = programs().ok_or("initdb and postgres are not installed")?;
        // A short path: that of a Unix socket has at most 107 bytes.
        let folder = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").map_err(said)?;
        if rustix::process::getuid().is_root() {
            std::os::unix::fs::chown(folder.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED))
                .map_err(said)?;
        }
        let data = folder.path().join("data");
        let mut initdb = command(&programs.join("initdb"));
        initdb.args(["--no-sync", "--auth=trust", "--username=tester", "--no-instructions"]);
        let output = initdb.arg("--pgdata").arg(&data).output().map_err(said)?;
        if !output.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let mut postgres = command(&programs.join("postgres"));
        postgres.args(["-F", "-c", "listen_addresses=", "-k"]).arg(folder.path());
        let child = postgres.arg("-D").arg(data).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self { child: child.spawn().map_err(said)?, folder, programs };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&self) -> Result<(), String> {
        let deadline = std::time::Instant::now() + SURELY;
        while self.psql("SELECT 1").is_err() {
            if std::time::Instant::now() > deadline {
                return Err(format!("{:?} accepts no connection", self.programs.join("postgres")));
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Ok(())
    }

    fn socket(&self) -> String {
        self.folder.path().join(".s.PGSQL.5432").to_str().expect("is text").to_owned()
    }

    fn psql(&self, sql: &str) -> Result<String, Failed> {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--username=tester"]);
        psql.args(["--dbname=postgres", "--command", sql]).arg("--host").arg(self.folder.path());
        output_of(&mut psql)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An immediate shutdown, which also ends the server's own processes.
        let process = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(process, rustix::process::Signal::QUIT);
        let _ = self.child.wait();
    }
}

/// One server for the tests of all backends; it takes a second or two to begin.
static SERVER: OnceLock<Result<std::sync::Mutex<Option<Server>>, String>> = OnceLock::new();

/// Ends the server, if it was started.
pub fn stop() {
    if let Some(Ok(server)) = SERVER.get() {
        drop(server.lock().expect("no test has panicked with it").take());
    }
}

fn receives(backend: Backend) -> Result<(), Failed> {
    let server = SERVER.get_or_init(|| Server::start().map(|server| Some(server).into()));
    let server = match server {
        Ok(server) => server.lock().map_err(|_| "another test has failed")?,
        Err(reason) => {
            skip(reason);
            return Ok(());
        }
    };
    let server = server.as_ref().ok_or("stopped")?;
    let channel = format!("news \"of\" {backend}");
    let recipe = env!("CARGO_BIN_EXE_psql_notify");
    let listener = Program::recipe(recipe, backend, &[&server.socket(), "tester", &channel]);
    listener.expect_line("connected to PostgreSQL ");
    listener.expect_line(&format!("listening on {channel}"));
    let notify = |text: &str| server.psql(&format!("SELECT pg_notify('{channel}', '{text}')"));
    for number in 0..10 {
        notify(&format!("number {number}"))?;
    }
    for number in 0..10 {
        assert!(listener.expect_line("number").ends_with(&format!(": number {number}")));
    }
    let long = "long ".repeat(1500);
    notify(&long)?;
    assert!(listener.expect_line("long").ends_with(&long));
    notify("quit")?;
    listener.expect_line(": quit");
    assert!(listener.wait().is_empty());
    Ok(())
}
