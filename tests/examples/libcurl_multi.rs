use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use polyselect::Backend;

use crate::closed_port::closed_port;
use crate::support::subject::Subject;
use crate::support::{Server, example};

static SUBJECT: Subject = Subject { example: "libcurl_multi", answer: <[u8]>::to_vec };

pub fn trials() -> Vec<Trial> {
    let whole = "files_of_every_size_arrive_whole";
    let mut trials = SUBJECT.own_on(Backend::available(), whole, files_arrive);
    let failing = ("a_failed_download_does_not_end_the_others", a_download_fails as _);
    let short = ("the_glue_has_fewer_than_60_lines", the_glue_is_short as _);
    trials.extend(SUBJECT.own(&[failing, short]));
    trials
}

/// Downloads on one loop; returns whether all succeeded, and the output. `None` without libcurl.
fn download(
    arguments: &[&str],
    into: &Path,
    urls: &[String],
) -> Result<Option<(bool, String)>, Failed> {
    let mut command = example("libcurl_multi");
    command.args(arguments).arg("--into").arg(into).args(urls).env("no_proxy", "*");
    let output = command.output()?;
    let error = String::from_utf8(output.stderr)?;
    if error.contains("is not installed") {
        println!("skipped: libcurl is not installed");
        return Ok(None);
    }
    Ok(Some((output.status.success(), String::from_utf8(output.stdout)? + &error)))
}

fn files_arrive(backend: Backend) -> Result<(), Failed> {
    let (from, into) = (tempfile::tempdir()?, tempfile::tempdir()?);
    // All at the same time, and one of them needs many reads.
    let lengths = [0, 1, 1000, 100_000, 5_000_000, 70_000, 70_001, 70_002];
    for length in lengths {
        let bytes: Vec<_> = (0..length).map(|index| (index % 251) as u8).collect();
        fs::write(from.path().join(length.to_string()), bytes)?;
    }
    let server = Server::start("http_server", &[from.path().to_str().ok_or("text")?]);
    let urls = lengths.map(|length| format!("http://{}/{length}", server.address));
    let Some((is_success, output)) = download(&["--backend", backend.name()], into.path(), &urls)?
    else {
        return Ok(());
    };
    assert!(is_success, "{output}");
    assert_eq!(output.matches(": complete").count(), lengths.len(), "{output}");
    for length in lengths.map(|length| length.to_string()) {
        let (sent, came) = (from.path().join(&length), into.path().join(&length));
        assert!(fs::read(sent)? == fs::read(came)?, "{length} bytes");
    }
    server.stop();
    Ok(())
}

fn a_download_fails() -> Result<(), Failed> {
    let (from, into) = (tempfile::tempdir()?, tempfile::tempdir()?);
    fs::write(from.path().join("page"), "text")?;
    let server = Server::start("http_server", &[from.path().to_str().ok_or("text")?]);
    let (_closed, closed) = closed_port();
    let urls = [
        format!("http://{closed}/refused"),
        format!("http://{}/missing", server.address),
        format!("http://{}/page", server.address),
    ];
    let Some((is_success, output)) = download(&[], into.path(), &urls)? else { return Ok(()) };
    assert!(!is_success && output.contains("2 downloads failed"), "{output}");
    assert_eq!(output.matches(": complete").count(), 1, "{output}");
    assert_eq!(fs::read(into.path().join("page"))?, b"text");
    server.stop();
    Ok(())
}

fn the_glue_is_short() -> Result<(), Failed> {
    let glue = include_str!("../../examples/libcurl_multi/glue.rs");
    assert!(glue.lines().count() < 60, "{} lines", glue.lines().count());
    Ok(())
}
