//! The servers without a selector: blocking, with processes, threads, and a pool of either.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::process::Stdio;

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::subject::reset;
use crate::support::{SURELY, Server, children_of, example, is_running, wait_until};

/// Those that print what their clients say (document 000).
const PRINTING: [&str; 5] = [
    "blocking_server",
    "process_pool_server",
    "process_server",
    "thread_server",
    "nonblocking_server",
];

/// Those that answer, and what (documents 001 and 003).
const ANSWERING: [(&str, &[u8]); 3] = [
    ("fork_server", b"OK"),
    ("thread_ok_server", b"OK"),
    ("keepalive_server", b"Server received your message."),
];

const WELCOMING: [&str; 2] = ["welcome_server", "welcome_thread_pool"];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("blocking_server::serves_one_after_the_other", one_after_the_other),
        Trial::test("process_server::leaves_no_zombie", || reaps("process_server")),
        Trial::test("fork_server::leaves_no_zombie", || reaps("fork_server")),
        Trial::test("process_pool_server::workers_are_there_before_the_clients", pre_started),
        Trial::test("process_pool_server::a_worker_that_is_killed_is_replaced", || {
            replaced(Signal::KILL)
        }),
        Trial::test("process_pool_server::a_worker_that_is_stopped_is_replaced", || {
            replaced(Signal::TERM)
        }),
        Trial::test("keepalive_server::stops_beside_one_who_does_not_read", stops_beside_the_deaf),
        Trial::test("keepalive_server::answers_what_has_come_before_it_stops", answers_what_came),
        Trial::test("nonblocking_server::says_what_it_cost", says_what_it_cost),
        Trial::test("thread_ok_server::says_goodbye", || {
            says_goodbye("thread_ok_server", "服务器退出")
        }),
        Trial::test("welcome_thread_pool::says_goodbye", || {
            says_goodbye("welcome_thread_pool", "Server shutting down.")
        }),
        Trial::test("keepalive_server::says_goodbye", || {
            says_goodbye("keepalive_server", "Server shutting down.")
        }),
        Trial::test("keepalive_server::a_character_may_come_in_pieces", a_character_in_pieces),
        Trial::test("keepalive_client::talks_until_exit", talks_until_exit),
        Trial::test("keepalive_client::ends_with_its_input_or_the_server", ends_with_its_input),
        Trial::test("udp_server::prints_each_datagram", prints_each_datagram),
        Trial::test("blocking_modes::shows_the_three", shows_the_three),
    ];
    for name in PRINTING {
        trials.push(Trial::test(format!("{name}::prints_what_it_hears"), move || prints(name)));
    }
    for name in &PRINTING[1..] {
        trials.push(Trial::test(format!("{name}::serves_many_at_once"), || many_at_once(name)));
    }
    for (name, answer) in ANSWERING {
        trials.push(Trial::test(format!("{name}::answers"), move || answers(name, answer)));
    }
    for name in WELCOMING {
        trials.push(Trial::test(format!("{name}::welcomes"), move || welcomes(name)));
    }
    for name in PRINTING.into_iter().chain(ANSWERING.map(|(name, _)| name)).chain(WELCOMING) {
        let bears = move || bears_resets_and_stops_with_idle_clients(name);
        trials.push(Trial::test(format!("{name}::bears_resets"), bears));
    }
    trials
}

fn start(name: &str) -> Server {
    Server::start(name, &[])
}

fn prints(name: &str) -> Result<(), Failed> {
    let server = start(name);
    for word in ["hello", "again"] {
        let mut client = TcpStream::connect(server.address)?;
        client.write_all(word.as_bytes())?;
        server.expect_line(&format!("b\"{word}\""));
        drop(client);
        server.expect_line(if name == "nonblocking_server" {
            "已经下线"
        } else {
            "客户端已经关闭"
        });
    }
    server.stop();
    Ok(())
}

fn one_after_the_other() -> Result<(), Failed> {
    let server = start("blocking_server");
    let mut first = TcpStream::connect(server.address)?;
    first.write_all(b"first")?;
    server.expect_line("b\"first\"");
    let mut second = TcpStream::connect(server.address)?;
    second.write_all(b"second")?;
    first.write_all(b"still first")?;
    server.expect_line("b\"still first\"");
    drop(first);
    server.expect_line("客户端已经关闭");
    server.expect_line("b\"second\"");
    server.stop();
    Ok(())
}

/// Three who keep their connection, all of whom are heard.
fn many_at_once(name: &str) -> Result<(), Failed> {
    let server = start(name);
    let mut clients = Vec::new();
    for number in 0..3 {
        let mut client = TcpStream::connect(server.address)?;
        client.write_all(format!("client {number}").as_bytes())?;
        server.expect_line(&format!("b\"client {number}\""));
        clients.push(client);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(format!("again {number}").as_bytes())?;
        server.expect_line(&format!("b\"again {number}\""));
    }
    server.stop();
    Ok(())
}

fn answers(name: &str, answer: &[u8]) -> Result<(), Failed> {
    let server = start(name);
    let mut clients: Vec<_> =
        (0..4).map(|_| TcpStream::connect(server.address)).collect::<Result<_, _>>()?;
    for message in ["你好", "x"] {
        for client in &mut clients {
            client.write_all(message.as_bytes())?;
            server.expect_line(message);
            let mut reply = vec![0; answer.len()];
            client.read_exact(&mut reply)?;
            assert_eq!(reply, answer);
        }
    }
    for mut client in clients {
        client.shutdown(Shutdown::Write)?;
        assert_eq!(client.read(&mut [0])?, 0);
    }
    server.stop();
    Ok(())
}

fn welcomes(name: &str) -> Result<(), Failed> {
    let server = start(name);
    for _ in 0..10 {
        let address = server.address.to_string();
        let output = example("welcome_client").arg(address).output()?;
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stdout)?, "欢迎访问服务器!\n");
    }
    server.stop();
    Ok(())
}

fn bears_resets_and_stops_with_idle_clients(name: &str) -> Result<(), Failed> {
    let server = start(name);
    for _ in 0..20 {
        let mut client = TcpStream::connect(server.address)?;
        client.write_all(b"never mind")?;
        reset(client)?;
    }
    let mut client = TcpStream::connect(server.address)?;
    client.set_read_timeout(Some(SURELY))?;
    if WELCOMING.contains(&name) {
        client.read_exact(&mut [0; 22])?;
    } else {
        client.write_all(b"still there?")?;
        server.expect_line("still there?");
    }
    // It is still connected, and does not keep the server from stopping.
    let children = children_of(server.id());
    server.stop();
    wait_until(|| !children.iter().any(|&child| is_running(child)));
    Ok(())
}

fn reaps(name: &str) -> Result<(), Failed> {
    let server = start(name);
    for _ in 0..20 {
        let mut client = TcpStream::connect(server.address)?;
        client.write_all(b"x")?;
        // It has a process by now.
        if name == "fork_server" {
            client.read_exact(&mut [0; 2])?;
        } else {
            server.expect_line("b\"x\"");
        }
    }
    // With nobody else coming, all of them end, and none stays as a zombie.
    wait_until(|| children_of(server.id()).is_empty());
    server.stop();
    Ok(())
}

fn pre_started() -> Result<(), Failed> {
    let server = Server::start("process_pool_server", &["--workers", "3"]);
    wait_until(|| children_of(server.id()).len() == 3);
    let mut clients = Vec::new();
    for number in 0..3 {
        let mut client = TcpStream::connect(server.address)?;
        client.write_all(format!("client {number}").as_bytes())?;
        server.expect_line(&format!("b\"client {number}\""));
        clients.push(client);
    }
    // The pool is full: who comes now waits until one has gone.
    let mut waiting = TcpStream::connect(server.address)?;
    waiting.write_all(b"has waited")?;
    clients[0].write_all(b"is served")?;
    server.expect_line("b\"is served\"");
    clients.pop();
    server.expect_line("b\"has waited\"");
    assert_eq!(children_of(server.id()).len(), 3);
    server.stop();
    Ok(())
}

fn replaced(signal: Signal) -> Result<(), Failed> {
    let server = Server::start("process_pool_server", &["--workers", "2"]);
    wait_until(|| children_of(server.id()).len() == 2);
    let victim = children_of(server.id())[0];
    kill_process(Pid::from_raw(victim.cast_signed()).ok_or("a process")?, signal)?;
    server.expect_line("1 of the workers died");
    wait_until(|| {
        let workers = children_of(server.id());
        workers.len() == 2 && !workers.contains(&victim)
    });
    server.stop();
    Ok(())
}

fn says_what_it_cost() -> Result<(), Failed> {
    let server = start("nonblocking_server");
    let mut client = TcpStream::connect(server.address)?;
    client.write_all(b"x")?;
    server.expect_line("b\"x\"");
    let lines = server.stop_and_read();
    let cost = lines.iter().find(|line| line.contains(" looks, ")).ok_or("says nothing")?;
    // The connection and its word were worth a look; the others were in vain.
    let numbers: Vec<u64> = cost.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers[0] - numbers[1], 2, "{cost}");
    Ok(())
}

fn says_goodbye(name: &str, goodbye: &str) -> Result<(), Failed> {
    let server = start(name);
    let _idle = TcpStream::connect(server.address)?;
    let lines = server.stop_and_read();
    assert!(lines.iter().any(|line| line == goodbye), "{lines:?}");
    Ok(())
}

fn a_character_in_pieces() -> Result<(), Failed> {
    let server = start("keepalive_server");
    let mut client = TcpStream::connect(server.address)?;
    for piece in "你".as_bytes().chunks(2) {
        client.write_all(piece)?;
        client.read_exact(&mut [0; 29])?;
    }
    server.expect_line(": 你");
    server.stop();
    Ok(())
}

fn stops_beside_the_deaf() -> Result<(), Failed> {
    let server = start("keepalive_server");
    let mut deaf = TcpStream::connect(server.address)?;
    deaf.set_write_timeout(Some(std::time::Duration::from_millis(200)))?;
    // Until its answers do not fit any more, and its questions neither.
    while deaf.write(&[b'x'; 1024]).is_ok() {}
    server.stop();
    Ok(())
}

/// Five keep the threads; what the sixth said before the stop is answered all the same.
fn answers_what_came() -> Result<(), Failed> {
    let server = start("keepalive_server");
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = TcpStream::connect(server.address)?;
        client.write_all(b"hello")?;
        server.expect_line("Accepted connection from ");
        clients.push(client);
    }
    let mut sixth = clients.pop().ok_or("six clients")?;
    for client in &mut clients {
        client.read_exact(&mut [0; 29])?;
    }
    server.stop();
    let mut answer = String::new();
    sixth.read_to_string(&mut answer)?;
    assert_eq!(answer, "Server received your message.");
    Ok(())
}

fn talks_until_exit() -> Result<(), Failed> {
    let server = start("keepalive_server");
    let mut client = example("keepalive_client");
    client.arg(server.address.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = client.spawn()?;
    client.stdin.take().ok_or("a pipe")?.write_all("你好\n\nagain\nexit\nnever\n".as_bytes())?;
    let output = client.wait_with_output()?;
    assert!(output.status.success());
    let expected = ">Server received your message.\n>>Server received your message.\n>";
    assert_eq!(String::from_utf8(output.stdout)?, expected);
    server.expect_line(": 你好");
    server.expect_line(": again");
    server.stop();
    Ok(())
}

fn ends_with_its_input() -> Result<(), Failed> {
    let server = start("keepalive_server");
    let address = server.address.to_string();
    let output = example("keepalive_client").arg(&address).stdin(Stdio::null()).output()?;
    assert!(output.status.success());
    server.stop();
    let output = example("keepalive_client").arg(&address).stdin(Stdio::null()).output()?;
    assert!(!output.status.success(), "nobody listens there any more");
    Ok(())
}

fn prints_each_datagram() -> Result<(), Failed> {
    let server = start("udp_server");
    let address = server.address.to_string();
    assert!(example("udp_client").arg(&address).status()?.success());
    server.expect_line("Hello, Server!");
    let client = UdpSocket::bind(("127.0.0.1", 0))?;
    client.send_to(b"not \xFF text", server.address)?;
    server.expect_line("not \u{FFFD} text");
    let long = "x".repeat(5000);
    client.send_to(long.as_bytes(), server.address)?;
    server.expect_line(&long);
    client.send_to(b"", server.address)?;
    client.send_to(b"still there", server.address)?;
    server.expect_line("still there");
    server.stop();
    Ok(())
}

fn shows_the_three() -> Result<(), Failed> {
    let output = example("blocking_modes").output()?;
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout)?;
    let lines: Vec<_> = text.lines().skip(1).collect();
    assert!(lines[0].starts_with("non-blocking: WouldBlock after 0 ms"), "{text}");
    assert!(lines[1].starts_with("timeout: WouldBlock after 2"), "{text}");
    assert!(lines[2].starts_with("blocking: \"hello\" after "), "{text}");
    Ok(())
}
