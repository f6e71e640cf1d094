//! Invalid requests, and files that are never served.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use polyselect::Backend;

use super::{Site, Story, folder, get, read_response, whole};
use crate::support::subject::{connect, reset};
use crate::support::{Server, create_named_pipe, example};

pub const STORIES: &[(&str, Story)] = &[
    ("refuses_what_is_no_request", refuses_what_is_no_request),
    ("refuses_and_stays", refuses_and_stays),
    ("answers_who_sends_too_much", answers_who_sends_too_much),
    ("leads_nobody_out_of_the_folder", leads_nobody_out_of_the_folder),
    ("bears_resets", bears_resets),
    ("runs_out_of_descriptors_and_goes_on", runs_out_of_descriptors_and_goes_on),
];

fn status_line(answer: &str) -> &str {
    answer.lines().next().unwrap_or_default()
}

fn refuses_what_is_no_request(backend: Backend) -> Result<(), Failed> {
    let site = Site::start(backend, &[("a", b"A")])?;
    let many_fields = "Field: x\r\n".repeat(100);
    let long = "x".repeat(9000);
    let many_bytes = format!("Field: {long}\r\nField: {long}\r\n");
    for (request, status) in [
        ("hello\r\n\r\n", "400 Bad Request"),
        ("GET /a\r\n\r\n", "400 Bad Request"),
        ("\0\r\n\r\n", "400 Bad Request"),
        ("GET  /a HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request"),
        ("GET /a HTTP/1.1\r\n\r\n", "400 Bad Request"),
        ("GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400 Bad Request"),
        ("GET /a HTTP/1.1\r\nHost: x\r\nno field\r\n\r\n", "400 Bad Request"),
        ("GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "400 Bad Request"),
        ("GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", "400 Bad Request"),
        ("GET /a HTTP/2.0\r\nHost: x\r\n\r\n", "505 HTTP Version Not Supported"),
        (&format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), "414 URI Too Long"),
        (&format!("GET /{long}"), "414 URI Too Long"),
        (
            &format!("GET /a HTTP/1.1\r\nHost: x\r\n{many_fields}\r\n"),
            "431 Request Header Fields Too Large",
        ),
        (
            &format!("GET /a HTTP/1.1\r\nHost: x\r\n{many_bytes}\r\n"),
            "431 Request Header Fields Too Large",
        ),
        (
            &format!("GET /a HTTP/1.1\r\nHost: x\r\n{many_bytes}"),
            "431 Request Header Fields Too Large",
        ),
    ] {
        let answer = site.ask(request.as_bytes())?;
        let shown = &request[..request.len().min(60)];
        assert_eq!(status_line(&answer), format!("HTTP/1.1 {status}"), "{shown:?}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{shown:?}: {answer}");
    }
    let answer = site.ask(b"GET /a HTTP/1.1\r\n\r\n")?;
    assert_eq!(
        answer,
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html; charset=utf-8\r\n\
         Content-Length: 116\r\nConnection: close\r\n\r\n<!DOCTYPE html>\n\
         <title>400 Bad Request</title>\n<h1>400 Bad Request</h1>\n\
         <p>Sorry: a request has one Host field.</p>\n"
    );
    site.server.stop();
    Ok(())
}

/// These are valid requests, so the connection stays, and the next one is answered.
fn refuses_and_stays(backend: Backend) -> Result<(), Failed> {
    let site = Site::start(backend, &[("a", b"A")])?;
    let mut client = site.connect()?;
    for (request, status, field) in [
        (get("/b"), "404 Not Found", ""),
        (get("/a/b"), "404 Not Found", ""),
        (get(&format!("/{}", "x".repeat(1000))), "404 Not Found", ""),
        (get("*"), "400 Bad Request", ""),
        (get("/%"), "400 Bad Request", ""),
        (get("/%4"), "400 Bad Request", ""),
        (get("/%zz"), "400 Bad Request", ""),
        (get("/a%00"), "400 Bad Request", ""),
        (get("/a").replace("GET", "POST"), "405 Method Not Allowed", "Allow: GET, HEAD\r\n"),
        (get("/a").replace("GET", "BREW"), "405 Method Not Allowed", "Allow: GET, HEAD\r\n"),
    ] {
        client.write_all(request.as_bytes())?;
        let answer = read_response(&mut client, false)?;
        assert_eq!(status_line(&answer), format!("HTTP/1.1 {status}"), "{request}");
        assert!(answer.contains(field) && !answer.contains("Connection: "), "{request}: {answer}");
    }
    client.write_all(get("/b").replace("GET", "HEAD").as_bytes())?;
    read_response(&mut client, true)?;
    client.write_all(get("/a").as_bytes())?;
    assert_eq!(read_response(&mut client, false)?, whole("application/octet-stream", "A"));
    site.server.stop();
    Ok(())
}

/// A client that goes on sending receives the answer too, and its data is not parsed as a request.
fn answers_who_sends_too_much(backend: Backend) -> Result<(), Failed> {
    let site = Site::start(backend, &[("a", b"A")])?;
    let body = "x".repeat(200_000) + &get("/a");
    let length = body.len();
    for (request, status) in [
        (format!("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"), 405),
        (format!("GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"), 200),
        (format!("GET /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}"), 200),
        (format!("GET /{body} HTTP/1.1\r\nHost: x\r\n\r\n"), 414),
        (format!("GET /a HTTP/1.1\r\nField: {body}"), 431),
        (get("/a").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n") + &body, 200),
    ] {
        let answer = site.ask(request.as_bytes())?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    site.server.stop();
    Ok(())
}

fn leads_nobody_out_of_the_folder(backend: Backend) -> Result<(), Failed> {
    let outside = folder(&[("secret", b"secret"), ("sub/secret", b"secret")])?;
    let site = Site::start(backend, &[("a", b"A"), ("sub/b", b"B")])?;
    let beside = outside.path().file_name().and_then(|name| name.to_str()).ok_or("a name")?;
    symlink(outside.path().join("secret"), site.path("link"))?;
    symlink(outside.path(), site.path("folder"))?;
    symlink(format!("../{beside}/secret"), site.path("relative"))?;
    symlink("../../../../../../../../../../etc/passwd", site.path("sub/far"))?;
    symlink("loop", site.path("loop"))?;
    symlink("missing", site.path("dangling"))?;
    symlink("../a", site.path("sub/inside"))?;
    create_named_pipe(&site.path("pipe"));
    std::os::unix::net::UnixListener::bind(site.path("socket"))?;

    let absolute = outside.path().join("secret").display().to_string();
    let mut client = site.connect()?;
    let mut ask = |path: &str| {
        client.write_all(get(path).as_bytes())?;
        read_response(&mut client, false)
    };
    let dotted = [
        format!("/../{beside}/secret"),
        format!("/%2e%2e/{beside}/secret"),
        format!("/.%2E/{beside}/secret"),
        format!("/sub/../../{beside}/secret"),
        format!("/sub/%2e%2e/%2e%2e/{beside}/secret"),
        "/..".into(),
        "/sub/../..".into(),
    ];
    for path in dotted {
        assert_eq!(status_line(&ask(&path)?), "HTTP/1.1 400 Bad Request", "{path}");
    }
    for path in [
        absolute.clone(),
        format!("/{absolute}"),
        absolute.replace('/', "%2f"),
        format!("/{}", absolute.replace('/', "%2F")),
        format!("/..%2f{beside}%2fsecret"),
        format!("/%2e%2e%2f{beside}%2fsecret"),
        "/..%5c..%5csecret".into(),
        "/link".into(),
        "/folder".into(),
        "/folder/".into(),
        "/folder/secret".into(),
        "/folder/sub/secret".into(),
        "/relative".into(),
        "/sub/far".into(),
        "/loop".into(),
        "/dangling".into(),
        "/pipe".into(),
        "/socket".into(),
    ] {
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        assert_eq!(status_line(&ask(&path)?), "HTTP/1.1 404 Not Found", "{path}");
    }
    assert_eq!(ask("/sub/inside")?, whole("application/octet-stream", "A"));
    site.server.stop();
    Ok(())
}

fn bears_resets(backend: Backend) -> Result<(), Failed> {
    let site = Site::start(backend, &[("big", &[b'x'; 3_000_000]), ("a", b"A")])?;
    for request in ["", "GET /b", &get("/big"), "nonsense\r\n\r\n"] {
        for _ in 0..10 {
            let mut client = site.connect()?;
            client.write_all(request.as_bytes())?;
            reset(client)?;
        }
    }
    let mut client = site.connect()?;
    client.write_all(get("/a").as_bytes())?;
    assert_eq!(read_response(&mut client, false)?, whole("application/octet-stream", "A"));
    site.server.stop();
    Ok(())
}

fn runs_out_of_descriptors_and_goes_on(backend: Backend) -> Result<(), Failed> {
    let folder = folder(&[("a", b"A")])?;
    let server = example("http_server");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 24; exec \"$@\"", "sh"]).arg(server.get_program());
    command.args(["--addr", "127.0.0.1:0", "--backend", backend.name()]).arg(folder.path());
    command.stdin(Stdio::null());
    let server = Server::start_with(command);
    let clients = (0..40).map(|_| connect(server.address)).collect::<Result<Vec<_>, _>>()?;
    for mut client in clients {
        client.write_all(get("/a").as_bytes())?;
        assert_eq!(read_response(&mut client, false)?, whole("application/octet-stream", "A"));
    }
    server.stop();
    Ok(())
}
