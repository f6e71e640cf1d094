//! The server's answers, byte for byte.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::{fs, thread};

use libtest_mimic::Failed;

use super::document::NO_FRAMES;
use super::{Library, MENU, Model, Story, command, expect, frame, ok, read_frame, refused};
use crate::support::subject::connect;
use crate::support::{Server, create_named_pipe};

pub const STORIES: &[(&str, Story)] = &[
    ("shows_the_menu", shows_the_menu),
    ("moves_whole_files", moves_whole_files),
    ("understands_frames_however_they_come", understands_frames_however_they_come),
    ("lists_plain_files_only", lists_plain_files_only),
    ("names_lead_nowhere_else", names_lead_nowhere_else),
    ("an_error_does_not_show_the_path", an_error_does_not_show_the_path),
    ("the_first_to_finish_has_the_name", the_first_to_finish_has_the_name),
    ("closes_on_what_is_no_frame", closes_on_what_is_no_frame),
    ("serves_many_at_once", serves_many_at_once),
    ("runs_out_of_descriptors_and_goes_on", runs_out_of_descriptors_and_goes_on),
];

fn shows_the_menu(model: Model) -> Result<(), Failed> {
    let library = Library::start(model)?;
    let here = tempfile::tempdir()?;
    fs::write(here.path().join("a b.txt"), "A")?;
    let mut expected = String::new();
    let mut keyboard = String::new();
    for (line, answer) in [
        ("list", "文件库为空\n"),
        ("", "请输入正确命令\n"),
        ("get", "请输入正确命令\n"),
        ("getx", "请输入正确命令\n"),
        ("LIST", "请输入正确命令\n"),
        ("list all", "请输入正确命令\n"),
        ("get nothing", "文件不存在\n"),
        ("get ../nothing", "文件不存在\n"),
        ("put nothing", "文件不存在\n"),
        ("put ..", "文件不存在\n"),
        ("  put   a b.txt  ", ""),
        ("put ./a b.txt", "文件已存在\n"),
        ("list", "a b.txt\n\n"),
        ("get a b.txt", ""),
        ("quit", "谢谢使用\n"),
        ("list", "never read"),
    ] {
        keyboard += &format!("{line}\n");
        if answer != "never read" {
            expected += &format!("{MENU}{answer}");
        }
    }
    let output = library.client(here.path(), &keyboard)?;
    assert_eq!(String::from_utf8(output.stdout)?, expected);
    assert_eq!(String::from_utf8(output.stderr)?, "");
    assert!(output.status.success());
    // The end of the input ends the client.
    let output = library.client(here.path(), "list")?;
    assert_eq!(String::from_utf8(output.stdout)?, format!("{MENU}a b.txt\n\n{MENU}\n谢谢使用\n"));
    assert!(output.status.success());
    library.server.stop();
    Ok(())
}

fn moves_whole_files(model: Model) -> Result<(), Failed> {
    let library = Library::start(model)?;
    let (here, there) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let noise = (0..1_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes());
    let noise = noise.collect::<Vec<u8>>();
    let files: [(&str, &[u8]); 7] = [
        ("empty", b""),
        ("byte", b"\0"),
        ("marks", b"##\nOK##"),
        ("文件 文件.txt", "文件".as_bytes()),
        ("a frame", &noise[..65536]),
        ("a frame and a byte", &noise[..65537]),
        ("big", &noise),
    ];
    let (mut put, mut get) = (String::new(), String::new());
    fs::create_dir(here.path().join("folder"))?;
    for (name, content) in files {
        fs::write(here.path().join("folder").join(name), content)?;
        put += &format!("put folder/{name}\n");
        get += &format!("get {name}\n");
    }
    // A file with the same name is replaced, as in the document.
    fs::write(there.path().join("byte"), "another")?;
    let silence = format!("{}\n谢谢使用\n", MENU.repeat(files.len() + 1));
    for (folder, keyboard) in [(&here, put), (&there, get)] {
        let output = library.client(folder.path(), &keyboard)?;
        assert_eq!(String::from_utf8(output.stdout)?, silence);
    }
    for (name, content) in files {
        assert!(fs::read(library.path(name))? == content, "{name}");
        assert!(fs::read(there.path().join(name))? == content, "{name}");
    }
    assert_eq!(super::names(there.path())?, library.names()?);
    assert_eq!(library.names()?.len(), files.len());
    library.server.stop();
    Ok(())
}

/// All requests at once, or one byte at a time.
fn understands_frames_however_they_come(model: Model) -> Result<(), Failed> {
    let library = Library::start(model)?;
    for name in ["a", "b"] {
        let session = [
            frame('P', name.as_bytes()),
            frame('D', b"hello"),
            frame('D', b""),
            frame('D', b"##world"),
            frame('Z', b""),
            frame('G', b"c"),
            frame('G', name.as_bytes()),
            frame('L', b""),
            frame('Q', b""),
            frame('L', b"not read any more"),
        ]
        .concat();
        let list = if name == "a" { "a\n" } else { "a\nb\n" };
        let expected = [
            ok(0),
            ok(0),
            refused("文件不存在"),
            ok(12),
            frame('D', b"hello##world"),
            frame('Z', b""),
            ok(list.len() as u64),
            frame('D', list.as_bytes()),
            frame('Z', b""),
        ]
        .concat();
        let mut client = library.connect()?;
        client.set_nodelay(true)?;
        let end = session.len() - frame('L', b"not read any more").len();
        let mut writing = client.try_clone()?;
        let writer = thread::spawn(move || {
            if name == "a" {
                writing.write_all(&session[..end])
            } else {
                session[..end].iter().try_for_each(|&byte| writing.write_all(&[byte]))
            }
        });
        let mut answer = Vec::new();
        client.read_to_end(&mut answer)?;
        assert_eq!(answer.escape_ascii().to_string(), expected.escape_ascii().to_string());
        writer.join().expect("does not panic")?;
    }
    library.server.stop();
    Ok(())
}

fn lists_plain_files_only(model: Model) -> Result<(), Failed> {
    let library = Library::start(model)?;
    let mut client = library.connect()?;
    fs::create_dir(library.path("folder"))?;
    fs::write(library.path(".hidden"), "")?;
    symlink("/etc/passwd", library.path("outside"))?;
    client.write_all(&frame('L', b""))?;
    expect(&mut client, &refused("文件库为空"))?;
    // More names than a frame can hold.
    let names = (0..400).map(|number| format!("{number:0>200}")).collect::<Vec<_>>();
    for name in &names {
        fs::write(library.path(name), "")?;
    }
    client.write_all(&frame('L', b""))?;
    let lines = names.iter().flat_map(|name| [name, "\n"]).collect::<String>();
    assert_eq!(read_frame(&mut client)?, ('O', (lines.len() as u64).to_be_bytes().to_vec()));
    let mut listed = Vec::new();
    loop {
        match read_frame(&mut client)? {
            ('D', bytes) => listed.extend(bytes),
            end => break assert_eq!(end, ('Z', Vec::new())),
        }
    }
    assert!(listed == lines.as_bytes());
    library.server.stop();
    Ok(())
}

fn names_lead_nowhere_else(model: Model) -> Result<(), Failed> {
    let library = Library::start(model)?;
    let outside = tempfile::tempdir()?;
    let secret = outside.path().join("secret");
    fs::write(&secret, "secret")?;
    let secret = secret.to_str().ok_or("a name")?;
    let beside = format!("../{}/secret", &outside.path().file_name().ok_or("a name")?.display());
    fs::create_dir(library.path("folder"))?;
    fs::write(library.path("folder/file"), "in a folder")?;
    fs::write(library.path(".hidden"), "hidden")?;
    symlink(secret, library.path("link"))?;
    symlink(&beside, library.path("relative"))?;
    symlink("loop", library.path("loop"))?;
    symlink(outside.path().join("new"), library.path("dangling"))?;
    symlink(outside.path(), library.path("linked_folder"))?;
    create_named_pipe(&library.path("pipe"));
    let before = library.names()?;

    let mut client = library.connect()?;
    let long = "x".repeat(300);
    for (name, to_put) in [
        ("", "文件名不合法"),
        (".", "文件名不合法"),
        ("..", "文件名不合法"),
        (".hidden", "文件名不合法"),
        (&beside, "文件名不合法"),
        (secret, "文件名不合法"),
        ("/etc/passwd", "文件名不合法"),
        ("folder/file", "文件名不合法"),
        ("folder/../x", "文件名不合法"),
        ("linked_folder/secret", "文件名不合法"),
        ("./x", "文件名不合法"),
        ("x/", "文件名不合法"),
        ("a\0b", "文件名不合法"),
        ("a\nb", "文件名不合法"),
        ("folder", "文件已存在"),
        ("link", "文件已存在"),
        ("relative", "文件已存在"),
        ("loop", "文件已存在"),
        ("dangling", "文件已存在"),
        ("pipe", "文件已存在"),
    ] {
        client.write_all(&frame('G', name.as_bytes()))?;
        expect(&mut client, &refused("文件不存在"))?;
        client.write_all(&frame('P', name.as_bytes()))?;
        expect(&mut client, &refused(to_put))?;
    }
    // The system rejects this name when the file gets it.
    client.write_all(&[frame('P', long.as_bytes()), frame('Z', b"")].concat())?;
    expect(&mut client, &ok(0))?;
    let (letter, why) = read_frame(&mut client)?;
    assert!(letter == 'E' && why.starts_with("文件无法保存: ".as_bytes()));
    assert_eq!(library.names()?, before);
    assert_eq!(super::names(outside.path())?, ["secret"]);
    library.server.stop();
    Ok(())
}

fn an_error_does_not_show_the_path(model: Model) -> Result<(), Failed> {
    let library = Library::start(model)?;
    fs::remove_dir(library.folder.path())?;
    let mut client = library.connect()?;
    client.write_all(&frame('P', b"name"))?;
    let (letter, why) = read_frame(&mut client)?;
    assert_eq!((letter, String::from_utf8(why)?.as_str()), ('E', "文件无法保存: entity not found"));
    for (request, name) in [('L', ""), ('G', "name"), ('G', "../name")] {
        client.write_all(&frame(request, name.as_bytes()))?;
        let (letter, why) = read_frame(&mut client)?;
        let why = String::from_utf8(why)?;
        assert!(letter == 'E' && !why.contains(['/', '\\']), "{why}");
    }
    library.server.stop();
    Ok(())
}

fn the_first_to_finish_has_the_name(model: Model) -> Result<(), Failed> {
    let library = Library::start(model)?;
    let (mut first, mut second) = (library.connect()?, library.connect()?);
    for client in [&mut second, &mut first] {
        client.write_all(&frame('P', b"name"))?;
        expect(client, &ok(0))?;
    }
    first.write_all(&[frame('D', b"first"), frame('Z', b"")].concat())?;
    expect(&mut first, &ok(0))?;
    second.write_all(&[frame('D', b"second"), frame('Z', b"")].concat())?;
    expect(&mut second, &refused("文件已存在"))?;
    assert_eq!(fs::read(library.path("name"))?, b"first");
    assert_eq!(library.names()?, ["name"]);
    library.server.stop();
    Ok(())
}

fn closes_on_what_is_no_frame(model: Model) -> Result<(), Failed> {
    let library = Library::start(model)?;
    let mut bystander = library.connect()?;
    let bad_frames = [
        frame('X', b""),
        frame('L', b"x"),
        frame('Q', b"x"),
        frame('O', b"short"),
        frame('G', b"\xff"),
        frame('P', b"\xe6\x96"),
        b"D\x00\x01\x00\x01".to_vec(),
        b"P\xff\xff\xff\xff".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    let out_of_place = [frame('D', b"out of place"), frame('Z', b""), ok(0)];
    let with_a_message = bad_frames.map(|bytes| (bytes, NO_FRAMES));
    for (bytes, expected) in with_a_message.into_iter().chain(out_of_place.map(|it| (it, ""))) {
        let mut client = library.connect()?;
        client.write_all(&bytes)?;
        let mut answer = String::new();
        match client.read_to_string(&mut answer) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset && expected.is_empty() => {}
            result => drop(result?),
        }
        assert_eq!(answer, expected, "{bytes:?}");
        library.server.expect_line(" is gone: ");
        bystander.write_all(&frame('L', b""))?;
        expect(&mut bystander, &refused("文件库为空"))?;
    }
    library.server.stop();
    Ok(())
}

fn serves_many_at_once(model: Model) -> Result<(), Failed> {
    const CLIENTS: usize = 100;

    let library = Library::start(model)?;
    let mut clients = (0..CLIENTS).map(|_| library.connect()).collect::<Result<Vec<_>, _>>()?;
    let content = |number: usize| vec![u8::try_from(number).expect("is small"); 1000 + number];
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&frame('P', format!("{number:02}").as_bytes()))?;
    }
    for (number, client) in clients.iter_mut().enumerate().rev() {
        expect(client, &ok(0))?;
        client.write_all(&[frame('D', &content(number)), frame('Z', b"")].concat())?;
    }
    for client in &mut clients {
        expect(client, &ok(0))?;
    }
    // Each gets the file that the next has put.
    for (number, client) in clients.iter_mut().enumerate() {
        let name = format!("{:02}", (number + 1) % CLIENTS);
        client.write_all(&frame('G', name.as_bytes()))?;
    }
    for (number, client) in clients.iter_mut().enumerate().rev() {
        let content = content((number + 1) % CLIENTS);
        let size = ok(content.len() as u64);
        expect(client, &[size, frame('D', &content), frame('Z', b"")].concat())?;
    }
    library.server.stop();
    Ok(())
}

fn runs_out_of_descriptors_and_goes_on(model: Model) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("a"), "A")?;
    let server = command(model, folder.path());
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 24; exec \"$@\"", "sh"]).arg(server.get_program());
    command.args(server.get_args());
    let server = Server::start_with(command);
    let clients = (0..30).map(|_| connect(server.address)).collect::<Result<Vec<_>, _>>()?;
    for (number, mut client) in clients.into_iter().enumerate() {
        client.write_all(&frame('G', b"a"))?;
        expect(&mut client, &[ok(1), frame('D', b"A"), frame('Z', b"")].concat())?;
        client.write_all(&[frame('P', format!("b{number}").as_bytes())].concat())?;
        expect(&mut client, &ok(0))?;
    }
    server.stop();
    Ok(())
}
