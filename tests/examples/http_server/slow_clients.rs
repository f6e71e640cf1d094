//! Slow clients, each of which costs a timer and nothing more.

use std::io::{Read, Write};
use std::net::Shutdown;

use libtest_mimic::Failed;
use polyselect::Backend;

use super::{HUGE, Site, Story, create_huge_file, get, read_response, whole, without_dates};

pub const STORIES: &[(&str, Story)] = &[
    ("half_a_request_is_answered_in_the_end", half_a_request_is_answered_in_the_end),
    ("a_byte_now_and_then_is_not_enough", a_byte_now_and_then_is_not_enough),
    ("who_says_nothing_is_sent_away", who_says_nothing_is_sent_away),
    ("who_does_not_read_is_sent_away", who_does_not_read_is_sent_away),
    ("who_has_ended_gets_all_answers", who_has_ended_gets_all_answers),
];

const FILES: &[(&str, &[u8])] = &[("a", b"A")];

const TIMED_OUT: &str = "HTTP/1.1 408 Request Timeout\r\nContent-Type: text/html; charset=utf-8\r\n\
                         Content-Length: 121\r\nConnection: close\r\n\r\n<!DOCTYPE html>\n\
                         <title>408 Request Timeout</title>\n<h1>408 Request Timeout</h1>\n\
                         <p>Sorry: the request took too long.</p>\n";

fn half_a_request_is_answered_in_the_end(backend: Backend) -> Result<(), Failed> {
    let site = Site::start_with(backend, FILES, &["--head-timeout", "0.05"])?;
    assert_eq!(site.ask(b"GET /a HT")?, TIMED_OUT);
    // The same for the second request, after a complete first one.
    let both = get("/a") + "GET /a HT";
    let first = whole("application/octet-stream", "A");
    assert_eq!(site.ask(both.as_bytes())?, first + TIMED_OUT);
    site.server.stop();
    Ok(())
}

fn a_byte_now_and_then_is_not_enough(backend: Backend) -> Result<(), Failed> {
    let site = Site::start_with(backend, FILES, &["--head-timeout", "0.1"])?;
    let client = site.connect()?;
    client.set_read_timeout(Some(std::time::Duration::from_millis(1)))?;
    (&client).write_all(b"GET /")?;
    let mut answer = Vec::new();
    // Each byte arrives long before the timeout.
    while answer.is_empty() {
        (&client).write_all(b"x")?;
        let mut chunk = [0; 1024];
        match (&client).read(&mut chunk) {
            Ok(n) => answer.extend(&chunk[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    assert_eq!(without_dates(&answer), TIMED_OUT);
    site.server.stop();
    Ok(())
}

fn who_says_nothing_is_sent_away(backend: Backend) -> Result<(), Failed> {
    let site = Site::start_with(backend, FILES, &["--idle-timeout", "0.25"])?;
    let mut client = site.connect()?;
    assert_eq!(client.read(&mut [0])?, 0);
    let mut client = site.connect()?;
    client.write_all(get("/a").as_bytes())?;
    assert_eq!(read_response(&mut client, false)?, whole("application/octet-stream", "A"));
    assert_eq!(client.read(&mut [0])?, 0);
    site.server.stop();
    Ok(())
}

fn who_does_not_read_is_sent_away(backend: Backend) -> Result<(), Failed> {
    let site = Site::start_with(backend, FILES, &["--idle-timeout", "0.25"])?;
    create_huge_file(&site.path("huge"))?;
    let mut deaf = site.connect()?;
    deaf.write_all(get("/huge").as_bytes())?;
    site.server.expect_line(" reads nothing");
    let mut received = 0;
    let mut chunk = vec![0; 1 << 20];
    while let Ok(n @ 1..) = deaf.read(&mut chunk) {
        received += n as u64;
    }
    assert!(received < HUGE);
    site.server.stop();
    Ok(())
}

/// A client that has shut down its sending side still receives answers.
fn who_has_ended_gets_all_answers(backend: Backend) -> Result<(), Failed> {
    let site = Site::start(backend, FILES)?;
    let mut client = site.connect()?;
    client.write_all(get("/a").repeat(100).as_bytes())?;
    client.write_all(b"GET /a HT")?;
    client.shutdown(Shutdown::Write)?;
    let mut answers = Vec::new();
    client.read_to_end(&mut answers)?;
    let expected = whole("application/octet-stream", "A").repeat(100);
    assert_eq!(without_dates(&answers), expected);
    site.server.stop();
    Ok(())
}
