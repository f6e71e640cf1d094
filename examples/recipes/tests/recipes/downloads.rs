//! `curl_multi`: from a server of Python's.

use std::fs;
use std::process::Command;

use libtest_mimic::Failed;
use polyselect::Backend;

use crate::Case;
use crate::support::Program;

pub const CASES: &[Case] = &[
    ("curl_multi_fetches_files_of_every_size", "python3", files_arrive),
    ("curl_multi_counts_the_downloads_that_fail", "python3", failures_are_counted),
];

/// Serves a folder, by HTTP/1.1 with connections that stay, and prints its port.
const SERVER: &str = r"
import functools, http.server as h, sys
h.SimpleHTTPRequestHandler.protocol_version = 'HTTP/1.1'
handler = functools.partial(h.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = h.ThreadingHTTPServer(('127.0.0.1', 0), handler)
print('listening on %s:%d' % server.server_address, flush=True)
server.serve_forever()
";

fn serve(folder: &tempfile::TempDir) -> (Program, String) {
    let mut python = Command::new("python3");
    let quiet = python.args(["-c", SERVER]).arg(folder.path()).stderr(std::process::Stdio::null());
    let server = Program::start(quiet);
    let address = server.address();
    (server, format!("http://{address}"))
}

fn download(backend: Backend, folder: &tempfile::TempDir, urls: &[String]) -> Program {
    let folder = folder.path().to_str().expect("is text");
    let arguments: Vec<_> =
        std::iter::once(folder).chain(urls.iter().map(String::as_str)).collect();
    Program::recipe(env!("CARGO_BIN_EXE_curl_multi"), backend, &arguments)
}

fn files_arrive(backend: Backend) -> Result<(), Failed> {
    let (from, into) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let lengths = [0, 1, 1000, 100_000, 5_000_000, 70_000, 70_001];
    for length in lengths {
        let bytes: Vec<_> = (0..length).map(|index| (index % 251) as u8).collect();
        fs::write(from.path().join(length.to_string()), bytes)?;
    }
    let (_server, root) = serve(&from);
    let urls = lengths.map(|length| format!("{root}/{length}"));
    let lines = download(backend, &into, &urls).wait();
    let complete = lines.iter().filter(|line| line.ends_with(": complete"));
    assert_eq!(complete.count(), lengths.len(), "{lines:?}");
    for length in lengths.map(|length| length.to_string()) {
        let (sent, came) = (from.path().join(&length), into.path().join(&length));
        assert!(fs::read(sent)? == fs::read(came)?, "{length} bytes");
    }
    Ok(())
}

fn failures_are_counted(backend: Backend) -> Result<(), Failed> {
    let (from, into) = (tempfile::tempdir()?, tempfile::tempdir()?);
    fs::write(from.path().join("page"), "text")?;
    let (_server, root) = serve(&from);
    let urls = [format!("{root}/missing"), format!("{root}/page")];
    let downloads = download(backend, &into, &urls);
    let lines = [downloads.expect_line("/"), downloads.expect_line("/")].concat();
    assert!(lines.contains("/page: complete") && lines.contains("/missing: "), "{lines}");
    let status = downloads.end();
    assert_eq!(status.code(), Some(1));
    assert_eq!(fs::read(into.path().join("page"))?, b"text");
    Ok(())
}
