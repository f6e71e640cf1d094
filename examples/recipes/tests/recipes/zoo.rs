//! `zoo`: each of its objects reports something.

use libtest_mimic::Failed;
use polyselect::Backend;

use crate::Case;
use crate::support::Program;

pub const CASES: &[Case] = &[("zoo_reports_events_of_each_kind_of_object", "", each_reports)];

fn each_reports(backend: Backend) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().ok_or("is text")?;
    let mut zoo = Program::recipe(env!("CARGO_BIN_EXE_zoo"), backend, &[path]);
    zoo.expect_line("ready");
    std::fs::write(folder.path().join("a file"), "text")?;
    zoo.write("a line from outside\n");
    // The order of the lines is the kernel's.
    let mut expected = vec![
        "inotify: \"a file\"",
        "timerfd: 1 expiration",
        "pidfd: exit status: 3",
        "pty: exit status: 0",
        "netlink: ",
        "stdin: \"a line from outside\\n\"",
    ];
    let mut terminal = String::new();
    while !expected.is_empty() {
        let line = zoo.expect_line("");
        if let Some(text) = line.strip_prefix("pty: \"") {
            terminal.push_str(text);
        }
        expected.retain(|text| !line.starts_with(text));
    }
    assert!(terminal.contains("has read a line"), "{terminal}");
    zoo.close_input();
    zoo.wait();
    Ok(())
}
