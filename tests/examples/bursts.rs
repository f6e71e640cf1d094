//! A thousand clients that connect at once, on a busy system and to the servers of files and the chat.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use libtest_mimic::{Failed, Trial};
use polyselect::Backend;

use crate::support::burst::connect_at_once;
use crate::support::subject::Subject;
use crate::support::{Server, example};

/// The servers with a selector that answer each message.
static SUBJECTS: &[Subject] = &[
    #[cfg(feature = "async")]
    Subject { example: "asyncio_start_server", answer: <[u8]>::to_vec },
    Subject { example: "asyncio_echo", answer: <[u8]>::to_vec },
    Subject { example: "custom_reactor", answer: <[u8]>::to_vec },
    Subject { example: "echo_selector", answer: <[u8]>::to_vec },
    Subject { example: "epoll_server", answer: <[u8]>::to_vec },
    #[cfg(target_os = "linux")]
    Subject { example: "in_tokio", answer: <[u8]>::to_vec },
    Subject { example: "per_core_echo", answer: <[u8]>::to_vec },
    Subject { example: "poll_ok_server", answer: |_| b"OK".to_vec() },
    Subject { example: "select_echo", answer: <[u8]>::to_vec },
    Subject { example: "select_ok_server", answer: |_| b"OK".to_vec() },
    Subject { example: "select_queue", answer: <[u8]>::to_ascii_uppercase },
    Subject { example: "select_stdin_server", answer: <[u8]>::to_vec },
    Subject {
        example: "select_thread_pool",
        answer: |_| b"Server received your message.".to_vec(),
    },
    Subject {
        example: "selectors_thread_pool",
        answer: |_| b"Server received your message.".to_vec(),
    },
    Subject { example: "thread_reactor", answer: <[u8]>::to_vec },
];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("chat::a_thousand_that_connect_at_once_are_all_announced", chat),
        Trial::test("http_server::a_thousand_that_connect_at_once_get_the_file", http_server),
    ];
    for model in ["threads", "event-loop"] {
        let claim = format!("ftp::{model}::a_thousand_that_connect_at_once_get_the_list");
        trials.push(Trial::test(claim, move || ftp_server(model)));
    }
    for subject in SUBJECTS {
        let claim = format!(
            "{}::a_thousand_that_connect_at_once_get_every_byte_on_a_busy_system",
            subject.example
        );
        trials.push(Trial::test(claim, move || on_a_busy_system(subject)));
    }
    trials
}

/// Threads that use all processors, until it is dropped.
struct Load(Arc<AtomicBool>);

impl Load {
    fn start() -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let ends = Arc::clone(&ends);
            thread::spawn(move || while !ends.load(Ordering::Relaxed) {});
        }
        Self(ends)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn on_a_busy_system(subject: &'static Subject) -> Result<(), Failed> {
    subject.bears_a_burst(Backend::available().next().ok_or("no backend")?, Load::start)
}

/// Each client sends a request after all have connected, and receives an answer that begins like this.
fn all_are_answered(server: Server, request: &[u8], answer: &[u8]) -> Result<(), Failed> {
    let clients = connect_at_once(&server)?;
    for mut client in clients.iter() {
        client.write_all(request)?;
    }
    for mut client in clients.iter() {
        let mut answered = vec![0; answer.len()];
        client.read_exact(&mut answered)?;
        assert_eq!(answered.escape_ascii().to_string(), answer.escape_ascii().to_string());
    }
    drop(clients);
    server.stop();
    Ok(())
}

fn ftp_server(model: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("name"), "")?;
    let mut command = example("ftp_server");
    command.args(["--addr", "127.0.0.1:0", "--model", model]).arg(folder.path());
    let answer = b"O\0\0\0\x08\0\0\0\0\0\0\0\x05D\0\0\0\x05name\nZ\0\0\0\0";
    all_are_answered(Server::start_with(command), b"L\0\0\0\0", answer)
}

fn http_server() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("name"), "text")?;
    let mut command = example("http_server");
    command.args(["--addr", "127.0.0.1:0"]).arg(folder.path());
    let request = b"GET /name HTTP/1.1\r\nHost: localhost\r\n\r\n";
    all_are_answered(Server::start_with(command), request, b"HTTP/1.1 200 OK\r\n")
}

fn chat() -> Result<(), Failed> {
    let server = Server::start("chat", &[]);
    let clients = connect_at_once(&server)?;
    for _ in clients.iter() {
        server.expect_line(" came");
    }
    drop(clients);
    server.stop();
    Ok(())
}
