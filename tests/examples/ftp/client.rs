//! The client, with servers that misbehave.

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::thread;

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};

use super::{MENU, frame, names, ok, read_frame, refused, run_client};
use crate::support::{example, wait};

type Story = fn() -> Result<(), Failed>;

pub fn trials() -> Vec<Trial> {
    let stories: [(&str, Story); 8] = [
        ("the_server_says_what_is_wrong", the_server_says_what_is_wrong),
        ("half_a_download_is_none", half_a_download_is_none),
        ("says_what_the_server_says", says_what_the_server_says),
        ("a_name_may_be_cut_by_a_frame", a_name_may_be_cut_by_a_frame),
        ("writes_nowhere_else", writes_nowhere_else),
        ("what_cannot_be_stored_is_left_out", what_cannot_be_stored_is_left_out),
        ("says_who_cannot_be_reached", says_who_cannot_be_reached),
        ("ctrl_c_leaves_no_half_file", ctrl_c_leaves_no_half_file),
    ];
    let named = |(name, story): (&str, Story)| Trial::test(format!("ftp::client::{name}"), story);
    stories.map(named).into()
}

/// A server that reads one frame, sends this answer, and closes at the end of the client's stream.
fn with_answer(answer: Vec<u8>, folder: &Path, keyboard: &str) -> Result<Output, Failed> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?.to_string();
    let server = thread::spawn(move || -> io::Result<()> {
        let (mut conn, _addr) = listener.accept()?;
        read_frame(&mut conn)?;
        conn.write_all(&answer)?;
        // A client that has read enough may have closed or reset the connection.
        let _ = conn.shutdown(std::net::Shutdown::Write);
        let _ = conn.read_to_end(&mut Vec::new());
        Ok(())
    });
    let output = run_client(&address, folder, keyboard)?;
    server.join().expect("does not panic")?;
    Ok(output)
}

fn half_a_download_is_none() -> Result<(), Failed> {
    let half = frame('D', b"half");
    for answer in [
        Vec::new(),
        ok(8),
        [ok(8), half.clone()].concat(),
        [ok(8), half[..7].to_vec()].concat(),
        // `End` arrives although fewer or more bytes were promised.
        [ok(8), half.clone(), frame('Z', b"")].concat(),
        [ok(2), half.clone(), frame('Z', b"")].concat(),
        [ok(8), half, frame('X', b"")].concat(),
    ] {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("before"), "as it was")?;
        let output = with_answer(answer, folder.path(), "get before\n")?;
        assert!(!output.status.success());
        assert!(!output.stderr.is_empty());
        assert_eq!(names(folder.path())?, ["before"]);
        assert_eq!(fs::read(folder.path().join("before"))?, b"as it was");
    }
    Ok(())
}

fn says_what_the_server_says() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let answer = [ok(8), frame('D', b"half"), refused("sorry")].concat();
    let output = with_answer(answer, folder.path(), "get name\nquit\n")?;
    let expected = format!("{MENU}sorry\n{MENU}谢谢使用\n");
    assert_eq!(String::from_utf8(output.stdout)?, expected);
    assert!(output.status.success() && names(folder.path())?.is_empty());
    Ok(())
}

fn a_name_may_be_cut_by_a_frame() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let (head, tail) = "欢\n".as_bytes().split_at(1);
    let list = [ok(4), frame('D', head), frame('D', tail), frame('Z', b"")].concat();
    let output = with_answer(list, folder.path(), "list\nquit\n")?;
    assert_eq!(String::from_utf8(output.stdout)?, format!("{MENU}欢\n\n{MENU}谢谢使用\n"));
    Ok(())
}

fn writes_nowhere_else() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let inner = folder.path().join("inner");
    fs::create_dir(&inner)?;
    let file = [ok(4), frame('D', b"evil"), frame('Z', b"")].concat();
    let absolute = folder.path().join("absolute").display().to_string();
    for name in ["../name", "..", ".", &absolute, "x/../../name"] {
        let keyboard = format!("get {name}\nlist\nquit\n");
        let output = with_answer(file.clone(), &inner, &keyboard)?;
        // It has requested the list only.
        let expected = format!("{MENU}文件不存在\n{MENU}evil\n{MENU}谢谢使用\n");
        assert_eq!(String::from_utf8(output.stdout)?, expected);
        assert_eq!(names(folder.path())?, ["inner"]);
        assert!(names(&inner)?.is_empty());
    }
    Ok(())
}

fn what_cannot_be_stored_is_left_out() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("name"))?;
    let file = [ok(4), frame('D', b"file"), frame('Z', b"")].concat();
    let output = with_answer(file, folder.path(), "get name\nquit\n")?;
    let printed = String::from_utf8(output.stdout)?;
    assert!(printed.starts_with(&format!("{MENU}文件无法保存: ")), "{printed}");
    assert!(printed.ends_with(&format!("\n{MENU}谢谢使用\n")), "{printed}");
    assert!(output.status.success());
    assert_eq!(names(folder.path())?, ["name"]);
    Ok(())
}

fn says_who_cannot_be_reached() -> Result<(), Failed> {
    // Bound but not listening, so that no other program gets the port.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let address = socket.local_addr()?.as_socket().ok_or("an address")?.to_string();
    let output = run_client(&address, Path::new("."), "")?;
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr)?;
    assert!(error.contains(&format!("{address} cannot be reached")), "{error}");
    Ok(())
}

fn the_server_says_what_is_wrong() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path().to_str().ok_or("a name")?;
    let taken = TcpListener::bind(("127.0.0.1", 0))?;
    let taken = taken.local_addr()?.to_string();
    let missing = format!("{folder}/missing");
    for (name, arguments, expected) in [
        ("ftp_server", &["--addr", "127.0.0.1:0", &missing][..], missing.as_str()),
        ("http_server", &["--addr", "127.0.0.1:0", &missing], &missing),
        ("ftp_server", &["--addr", &taken, folder], &taken),
        ("http_server", &["--addr", &taken, folder], &taken),
        ("ftp_server", &["--backend", "poll", folder], "--model event-loop"),
        ("ftp_server", &["--model", "processes", folder], "[possible values: threads, event-loop]"),
        ("http_server", &["--head-timeout=-1", folder], "--head-timeout"),
        ("http_server", &["--addr", "nowhere", folder], "HOST:PORT"),
    ] {
        let output = example(name).args(arguments).output()?;
        let error = String::from_utf8(output.stderr)?;
        assert!(!output.status.success() && error.contains(expected), "{error}");
    }
    Ok(())
}

fn press_ctrl_c(client: &mut Child) {
    kill_process(Pid::from_child(client), Signal::INT).expect("is running");
    let status = wait(client);
    assert!(status.success(), "stopped with {status}");
}

fn ctrl_c_leaves_no_half_file() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for in_download in [false, true] {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let mut command = example("ftp_client");
        command.arg(listener.local_addr()?.to_string()).current_dir(folder.path());
        let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut conn: TcpStream = listener.accept()?.0;
        let mut output = BufReader::new(client.stdout.take().ok_or("a pipe")?);
        let mut menu = vec![0; MENU.len()];
        output.read_exact(&mut menu)?;
        let mut keyboard = client.stdin.take().ok_or("a pipe")?;
        if in_download {
            keyboard.write_all(b"get name\n")?;
            assert_eq!(read_frame(&mut conn)?, ('G', b"name".to_vec()));
            conn.write_all(&[ok(8), frame('D', b"half")].concat())?;
        }
        press_ctrl_c(&mut client);
        let mut rest = String::new();
        output.read_to_string(&mut rest)?;
        assert_eq!(rest, "\n谢谢使用\n");
        assert!(names(folder.path())?.is_empty());
    }
    Ok(())
}
