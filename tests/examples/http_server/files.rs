//! Responses to well-behaved clients.

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::{fs, thread};

use libtest_mimic::Failed;
use polyselect::Backend;

use super::{HUGE, MODIFIED, Site, Story, create_huge_file, get, read_response, whole};
use crate::support::subject::reset;
use crate::support::{SURELY, example};

pub const STORIES: &[(&str, Story)] = &[
    ("knows_the_types", knows_the_types),
    ("answers_in_order_however_the_requests_come", answers_in_order_however_the_requests_come),
    ("sends_parts", sends_parts),
    ("sends_only_what_is_new", sends_only_what_is_new),
    ("an_entity_tag_overrides_the_date", an_entity_tag_overrides_the_date),
    ("lists_folders", lists_folders),
    ("a_listing_leaves_out_dead_links", a_listing_leaves_out_dead_links),
    ("a_folder_without_permission_is_an_error_at_the_start", a_folder_without_permission),
    ("speaks_http_1_0", speaks_http_1_0),
    ("serves_many_at_once", serves_many_at_once),
    ("a_file_larger_than_memory", a_file_larger_than_memory),
    ("a_file_that_becomes_shorter", a_file_that_becomes_shorter),
    ("stops_while_it_sends", stops_while_it_sends),
];

fn knows_the_types(backend: Backend) -> Result<(), Failed> {
    let types = [
        ("a.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.PNG", "image/png"),
        ("a.svg", "image/svg+xml"),
        ("a.json", "application/json"),
        ("a.wasm", "application/wasm"),
        ("a.tar.gz", "application/gzip"),
        ("nothing", "application/octet-stream"),
        ("文 件.txt", "text/plain; charset=utf-8"),
    ];
    let files = types.map(|(name, _)| (name, name.as_bytes()));
    let site = Site::start(backend, &files)?;
    let mut client = site.connect()?;
    for (name, content_type) in types {
        let path = name.replace("文 件", "%E6%96%87%20%e4%bb%b6");
        client.write_all(get(&format!("/{path}?v=1")).as_bytes())?;
        assert_eq!(read_response(&mut client, false)?, whole(content_type, name));
    }
    site.server.expect_line("\"GET /a.html?v=1 HTTP/1.1\" 200 6");
    site.server.stop();
    Ok(())
}

/// All requests at once, or one byte at a time.
fn answers_in_order_however_the_requests_come(backend: Backend) -> Result<(), Failed> {
    let long = "x".repeat(200_000);
    let files = [("a.txt", &b"A"[..]), ("long.txt", long.as_bytes()), ("empty.txt", b"")];
    let site = Site::start(backend, &files)?;
    let head = |path: &str| get(path).replace("GET", "HEAD");
    let requests = [
        get("/a.txt"),
        head("/long.txt"),
        get("/long.txt"),
        "\r\n".into(),
        get("/empty.txt"),
        get("/./nothing/../a.txt"),
        get("http://localhost/a.txt"),
        get("/a.txt").replace("\r\n\r\n", "\r\nConnection: Close\r\n\r\n"),
        get("/never"),
    ];
    let text = "text/plain; charset=utf-8";
    let long = whole(text, &long);
    let (head_of_long, _) = long.split_at(long.find("\r\n\r\n").ok_or("a head")? + 4);
    let a = whole(text, "A");
    let last = a.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let expected =
        [&a, head_of_long, &long, &whole(text, ""), &a, &a, &last].into_iter().collect::<String>();
    assert!(site.ask(requests.concat().as_bytes())? == expected, "at once");

    let mut client = site.connect()?;
    client.set_nodelay(true)?;
    let mut writing = client.try_clone()?;
    let writer = thread::spawn(move || {
        let bytes = requests[..7].concat();
        bytes.bytes().try_for_each(|byte| writing.write_all(&[byte]))
    });
    for (number, expected) in
        [&a, head_of_long, &long, &whole(text, ""), &a, &a].into_iter().enumerate()
    {
        assert!(read_response(&mut client, number == 1)? == expected, "{number}");
    }
    writer.join().expect("does not panic")?;
    site.server.stop();
    Ok(())
}

fn sends_parts(backend: Backend) -> Result<(), Failed> {
    let site = Site::start(backend, &[("ten", b"0123456789"), ("empty", b"")])?;
    let mut client = site.connect()?;
    let fields = format!("Last-Modified: {MODIFIED}\r\nAccept-Ranges: bytes\r\n");
    let octets = "Content-Type: application/octet-stream\r\n";
    let mut ask = |request: &str, range: &str| {
        let request = request.replace("\r\n\r\n", &format!("\r\n{range}\r\n\r\n"));
        client.write_all(request.as_bytes())?;
        read_response(&mut client, request.starts_with("HEAD"))
    };
    for (range, part, bytes) in [
        ("bytes=0-3", "0-3", "0123"),
        ("bytes=2-2", "2-2", "2"),
        ("bytes=7-", "7-9", "789"),
        ("bytes=-4", "6-9", "6789"),
        ("bytes=-99", "0-9", "0123456789"),
        ("bytes=8-99999999999999999999999", "8-9", "89"),
        ("Bytes = 0-0", "0-0", "0"),
    ] {
        let length = bytes.len();
        assert_eq!(
            ask(&get("/ten"), &format!("Range: {range}"))?,
            format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {part}/10\r\n{octets}{fields}\
                 Content-Length: {length}\r\n\r\n{bytes}"
            ),
            "{range}"
        );
    }
    for range in ["bytes=10-", "bytes=10-11", "bytes=-0"] {
        let answer = ask(&get("/ten"), &format!("Range: {range}"))?;
        assert!(answer.starts_with("HTTP/1.1 416 Range Not Satisfiable\r\n"), "{range}: {answer}");
        assert!(answer.contains("Content-Range: bytes */10\r\n"), "{range}: {answer}");
    }
    assert!(ask(&get("/empty"), "Range: bytes=0-")?.contains("Content-Range: bytes */0\r\n"));
    // Ignored: several ranges, malformed ones, those for another version, and those of `HEAD`.
    let all = whole("application/octet-stream", "0123456789");
    for range in [
        "bytes=0-1,3-4",
        "bytes=3-1",
        "bytes=+1-2",
        "bytes=-",
        "bytes=x-1",
        "lines=0-1",
        "bytes 0-1",
        "",
        "bytes=0-1\r\nIf-Range: \"tag\"",
        "bytes=0-1\r\nIf-Range: Sun, 06 Nov 1994 08:49:38 GMT",
    ] {
        assert_eq!(ask(&get("/ten"), &format!("Range: {range}"))?, all, "{range}");
    }
    let same = format!("Range: bytes=0-1\r\nIf-Range: {MODIFIED}");
    assert!(ask(&get("/ten"), &same)?.ends_with("\r\n\r\n01"));
    let head = get("/ten").replace("GET", "HEAD");
    assert_eq!(ask(&head, "Range: bytes=0-1")?, all.trim_end_matches("0123456789"));
    site.server.stop();
    Ok(())
}

fn sends_only_what_is_new(backend: Backend) -> Result<(), Failed> {
    let site = Site::start(backend, &[("a", b"A")])?;
    let mut client = site.connect()?;
    for (date, status) in [
        (MODIFIED, 304),
        ("Sun, 06 Nov 1994 08:49:38 GMT", 304),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 200),
        ("yesterday", 200),
    ] {
        let since = format!("\r\nIf-Modified-Since: {date}\r\n\r\n");
        client.write_all(get("/a").replace("\r\n\r\n", &since).as_bytes())?;
        let answer = read_response(&mut client, false)?;
        if status == 304 {
            let expected =
                format!("HTTP/1.1 304 Not Modified\r\nLast-Modified: {MODIFIED}\r\n\r\n");
            assert_eq!(answer, expected);
        } else {
            assert_eq!(answer, whole("application/octet-stream", "A"));
        }
    }
    site.server.stop();
    Ok(())
}

/// RFC 9110, section 13.1.3.
fn an_entity_tag_overrides_the_date(backend: Backend) -> Result<(), Failed> {
    let site = Site::start(backend, &[("a", b"A")])?;
    let mut client = site.connect()?;
    for (tags, status) in [("\"old\"", "200 OK"), ("*", "304 Not Modified")] {
        let fields = format!("If-Modified-Since: {MODIFIED}\r\nIf-None-Match: {tags}");
        let request = get("/a").replace("\r\n\r\n", &format!("\r\n{fields}\r\n\r\n"));
        client.write_all(request.as_bytes())?;
        let answer = read_response(&mut client, false)?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{tags}: {answer}");
    }
    site.server.stop();
    Ok(())
}

fn a_listing_leaves_out_dead_links(backend: Backend) -> Result<(), Failed> {
    let site = Site::start(backend, &[("sub/file", b"A"), ("sub/folder/x", b"")])?;
    for (target, link) in [
        ("missing", "sub/dead"),
        ("/etc/passwd", "sub/outside"),
        ("loop", "sub/loop"),
        ("file", "sub/to_a_file"),
        ("folder", "sub/to_a_folder"),
    ] {
        symlink(target, site.path(link))?;
    }
    let mut client = site.connect()?;
    client.write_all(get("/sub/").as_bytes())?;
    let page = read_response(&mut client, false)?;
    let names: Vec<_> =
        page.split("href=\"").skip(1).filter_map(|it| it.split('"').next()).collect();
    assert_eq!(names, ["../", "./file", "./folder/", "./to_a_file", "./to_a_folder/"]);
    site.server.stop();
    Ok(())
}

fn a_folder_without_permission(backend: Backend) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o111))?;
    if fs::read_dir(folder.path()).is_ok() {
        return Ok(()); // The superuser needs no permission.
    }
    let mut command = example("http_server");
    command.args(["--addr", "127.0.0.1:0", "--backend", backend.name()]).arg(folder.path());
    let output = command.output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("cannot be served"), "{error}");
    Ok(())
}

fn lists_folders(backend: Backend) -> Result<(), Failed> {
    let files = [
        ("b & <c>.txt", &b""[..]),
        ("a:b%.txt", b""),
        ("sub/deep/x", b""),
        ("home/index.html", b"<p>home"),
        ("strange/index.html/x", b""),
    ];
    let site = Site::start(backend, &files)?;
    let mut client = site.connect()?;
    let mut ask = |path: &str| {
        client.write_all(get(path).as_bytes())?;
        read_response(&mut client, false)
    };
    let page = |title: &str, lines: &str| {
        let page = format!(
            "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<h1>{title}</h1>\n\
             <ul>\n{lines}</ul>\n"
        );
        let length = page.len();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\
             Content-Length: {length}\r\n\r\n{page}"
        )
    };
    assert_eq!(
        ask("/")?,
        page(
            "/",
            "<li><a href=\"./a%3Ab%25.txt\">a:b%.txt</a></li>\n\
             <li><a href=\"./b%20%26%20%3Cc%3E.txt\">b &amp; &lt;c&gt;.txt</a></li>\n\
             <li><a href=\"./home/\">home/</a></li>\n\
             <li><a href=\"./strange/\">strange/</a></li>\n\
             <li><a href=\"./sub/\">sub/</a></li>\n"
        )
    );
    let up = "<li><a href=\"../\">../</a></li>\n";
    let in_sub = page("/sub/", &format!("{up}<li><a href=\"./deep/\">deep/</a></li>\n"));
    assert_eq!(ask("/sub/")?, in_sub);
    assert_eq!(ask("//sub/./deep/%2E%2e/")?, in_sub);
    assert_eq!(ask("/home/")?, whole("text/html; charset=utf-8", "<p>home"));
    let strange = format!("{up}<li><a href=\"./index.html/\">index.html/</a></li>\n");
    assert_eq!(ask("/strange/")?, page("/strange/", &strange));
    for path in ["/sub/deep", "//sub/deep", "/%73ub/%64eep?q"] {
        assert_eq!(
            ask(path)?,
            "HTTP/1.1 301 Moved Permanently\r\nLocation: /sub/deep/\r\nContent-Length: 0\r\n\r\n"
        );
    }
    assert!(ask("/sub/deep/x/")?.starts_with("HTTP/1.1 404 "));
    site.server.stop();
    Ok(())
}

fn speaks_http_1_0(backend: Backend) -> Result<(), Failed> {
    let site = Site::start(backend, &[("a", b"A")])?;
    let answer = whole("application/octet-stream", "A");
    let with = |field: &str| answer.replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"));
    assert_eq!(site.ask(b"GET /a HTTP/1.0\r\n\r\n")?, with("Connection: close"));
    let mut client = site.connect()?;
    for _ in 0..2 {
        client.write_all(b"GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")?;
        assert_eq!(read_response(&mut client, false)?, with("Connection: keep-alive"));
    }
    site.server.stop();
    Ok(())
}

fn serves_many_at_once(backend: Backend) -> Result<(), Failed> {
    let content = (0..300_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    let site = Site::start(backend, &[("big", &content)])?;
    let mut clients = (0..20).map(|_| site.connect()).collect::<Result<Vec<_>, _>>()?;
    // No client reads before all have sent their requests.
    for client in &mut clients {
        let request = get("/big").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes())?;
    }
    for client in clients.iter_mut().rev() {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer)?;
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(&content));
    }
    site.server.stop();
    Ok(())
}

fn a_file_larger_than_memory(backend: Backend) -> Result<(), Failed> {
    let site = Site::start(backend, &[])?;
    create_huge_file(&site.path("huge"))?;
    let mut client = site.connect()?;
    client.write_all(get("/huge").replace("\r\n\r\n", "\r\nRange: bytes=-5\r\n\r\n").as_bytes())?;
    let answer = read_response(&mut client, false)?;
    let range = format!("Content-Range: bytes {}-{}/{HUGE}\r\n", HUGE - 5, HUGE - 1);
    assert!(answer.contains(&range) && answer.ends_with("\r\n\r\n\0\0\0\0\0"), "{answer}");
    client.write_all(get("/huge").as_bytes())?;
    let head = read_response(&mut client, true)?;
    assert!(head.contains(&format!("Content-Length: {HUGE}\r\n")), "{head}");
    let mut chunk = vec![1; 1 << 20];
    for _ in 0..64 {
        client.read_exact(&mut chunk)?;
        assert!(chunk.iter().all(|&byte| byte == 0));
    }
    reset(client)?;
    #[cfg(target_os = "linux")]
    {
        let status = fs::read_to_string(format!("/proc/{}/status", site.server.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("a peak")?;
        let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse()?;
        assert!(kibibytes < 32 * 1024, "{kibibytes} KiB");
    }
    site.server.expect_line(" is gone: ");
    site.server.stop();
    Ok(())
}

/// The promised length cannot be sent, and the client can detect that.
fn a_file_that_becomes_shorter(backend: Backend) -> Result<(), Failed> {
    let site = Site::start(backend, &[])?;
    create_huge_file(&site.path("huge"))?;
    let mut client = site.connect()?;
    client.write_all(get("/huge").as_bytes())?;
    read_response(&mut client, true)?;
    fs::File::options().write(true).open(site.path("huge"))?.set_len(0)?;
    let mut chunk = vec![0; 1 << 20];
    // Data that was sent still arrives; then the connection is closed or reset.
    client.set_read_timeout(Some(SURELY))?;
    while client.read(&mut chunk).is_ok_and(|n| n > 0) {}
    site.server.expect_line("bytes shorter while it was sent");
    site.server.stop();
    Ok(())
}

fn stops_while_it_sends(backend: Backend) -> Result<(), Failed> {
    let site = Site::start(backend, &[])?;
    create_huge_file(&site.path("huge"))?;
    let mut client = site.connect()?;
    client.write_all(get("/huge").as_bytes())?;
    read_response(&mut client, true)?;
    site.server.stop();
    Ok(())
}
