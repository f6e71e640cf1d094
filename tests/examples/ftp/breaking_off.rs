//! Clients that disconnect during a transfer, and files that change.

use std::fs;
use std::io::{Read, Write};

use libtest_mimic::Failed;

use super::{
    HUGE, Library, Model, Story, create_huge_file, expect, frame, ok, read_frame, refused,
};
use crate::support::subject::reset;

pub const STORIES: &[(&str, Story)] = &[
    ("half_an_upload_leaves_nothing", half_an_upload_leaves_nothing),
    ("who_cannot_read_its_file_says_so", who_cannot_read_its_file_says_so),
    ("a_file_larger_than_memory", a_file_larger_than_memory),
    ("a_file_that_becomes_shorter", a_file_that_becomes_shorter),
    ("bears_resets", bears_resets),
    ("ctrl_c_leaves_no_half_file", ctrl_c_leaves_no_half_file),
];

fn half_an_upload_leaves_nothing(model: Model) -> Result<(), Failed> {
    let library = Library::start(model)?;
    for resets in [false, true] {
        for sent in [&b""[..], &frame('D', b"half a file"), &frame('D', b"half a frame")[..9]] {
            let mut client = library.connect()?;
            client.write_all(&frame('P', b"name"))?;
            expect(&mut client, &ok(0))?;
            assert_eq!(library.names()?.len(), 1);
            client.write_all(sent)?;
            if resets {
                reset(client)?;
            } else {
                drop(client);
            }
            library.server.expect_line(" is gone: ");
            assert!(library.names()?.is_empty());
        }
    }
    library.server.stop();
    Ok(())
}

fn who_cannot_read_its_file_says_so(model: Model) -> Result<(), Failed> {
    let library = Library::start(model)?;
    let mut client = library.connect()?;
    client.write_all(&frame('P', b"name"))?;
    expect(&mut client, &ok(0))?;
    client.write_all(&[frame('D', b"half"), refused("sorry"), frame('L', b"")].concat())?;
    expect(&mut client, &refused("文件库为空"))?;
    assert!(library.names()?.is_empty());
    library.server.stop();
    Ok(())
}

fn a_file_larger_than_memory(model: Model) -> Result<(), Failed> {
    let library = Library::start(model)?;
    create_huge_file(&library.path("huge"))?;
    let mut client = library.connect()?;
    client.write_all(&frame('G', b"huge"))?;
    expect(&mut client, &ok(HUGE))?;
    let mut received = 0;
    while received < 64 << 20 {
        let (letter, bytes) = read_frame(&mut client)?;
        assert!(letter == 'D' && bytes.iter().all(|&byte| byte == 0));
        received += bytes.len();
    }
    reset(client)?;
    library.server.expect_line(" is gone: ");
    #[cfg(target_os = "linux")]
    {
        let status = fs::read_to_string(format!("/proc/{}/status", library.server.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("a peak")?;
        let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse()?;
        assert!(kibibytes < 32 * 1024, "{kibibytes} KiB");
    }
    library.server.stop();
    Ok(())
}

/// The client receives an error, and the connection stays usable.
fn a_file_that_becomes_shorter(model: Model) -> Result<(), Failed> {
    let library = Library::start(model)?;
    create_huge_file(&library.path("huge"))?;
    let mut client = library.connect()?;
    client.write_all(&frame('G', b"huge"))?;
    expect(&mut client, &ok(HUGE))?;
    fs::File::options().write(true).open(library.path("huge"))?.set_len(0)?;
    loop {
        match read_frame(&mut client)? {
            ('D', _) => {}
            end => break assert_eq!(end, ('E', "文件在传输中变短了".as_bytes().to_vec())),
        }
    }
    client.write_all(&[frame('L', b""), frame('Q', b"")].concat())?;
    expect(&mut client, &[ok(5), frame('D', b"huge\n"), frame('Z', b"")].concat())?;
    assert_eq!(client.read(&mut [0])?, 0);
    library.server.stop();
    Ok(())
}

fn bears_resets(model: Model) -> Result<(), Failed> {
    let library = Library::start(model)?;
    create_huge_file(&library.path("huge"))?;
    for request in [&b""[..], b"G\0\0", &frame('L', b""), &frame('G', b"huge")] {
        for _ in 0..10 {
            let mut client = library.connect()?;
            client.write_all(request)?;
            reset(client)?;
        }
    }
    let mut client = library.connect()?;
    client.write_all(&frame('L', b""))?;
    expect(&mut client, &ok(5))?;
    library.server.stop();
    Ok(())
}

/// Nor does it wait for clients during a transfer.
fn ctrl_c_leaves_no_half_file(model: Model) -> Result<(), Failed> {
    let Library { folder, server } = Library::start(model)?;
    create_huge_file(&folder.path().join("huge"))?;
    let connect = || crate::support::subject::connect(server.address);
    let (mut uploading, mut downloading, _idle) = (connect()?, connect()?, connect()?);
    uploading.write_all(&frame('P', b"name"))?;
    expect(&mut uploading, &ok(0))?;
    uploading.write_all(&frame('D', b"half a file"))?;
    downloading.write_all(&frame('G', b"huge"))?;
    expect(&mut downloading, &ok(HUGE))?;
    server.stop();
    assert_eq!(super::names(folder.path())?, ["huge"]);
    Ok(())
}
