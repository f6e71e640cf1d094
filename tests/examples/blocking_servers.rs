//! The servers without a selector: blocking, with processes, threads, and a pool of either.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use libtest_mimic::{Failed, Trial};

use crate::support::subject::reset;
use crate::support::{SURELY, Server, children_of, example, is_running, wait_until};

/// The servers that print what their clients send (document 000).
const PRINTING: [&str; 5] = [
    "blocking_server",
    "process_pool_server",
    "process_server",
    "thread_server",
    "nonblocking_server",
];

/// The servers that answer, and their answers (documents 001 and 003).
const ANSWERING: [(&str, &[u8]); 3] = [
    ("fork_server", b"OK"),
    ("thread_ok_server", b"OK"),
    ("keepalive_server", b"Server received your message."),
];

const WELCOMING: [&str; 2] = ["welcome_server", "welcome_thread_pool"];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("blocking_server::serves_one_after_the_other", one_after_the_other),
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
    ];
    for name in PRINTING {
        trials.push(Trial::test(format!("{name}::prints_what_it_hears"), move || prints(name)));
    }
    for name in WELCOMING {
        trials.push(Trial::test(format!("{name}::does_not_mind_when_they_come"), move || {
            whenever_they_come(name)
        }));
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

/// Three clients that stay connected are served at the same time.
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

/// Enough clients that some arrive between the server's check and its sleep.
fn whenever_they_come(name: &str) -> Result<(), Failed> {
    let server = start(name);
    let address = server.address;
    let come = move || -> std::io::Result<()> {
        for _ in 0..1500 {
            TcpStream::connect(address)?.read_exact(&mut [0; 22])?;
        }
        Ok(())
    };
    for visitors in [come, come].map(std::thread::spawn) {
        visitors.join().expect("does not panic")?;
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
    // The client is still connected, and does not keep the server from stopping.
    let children = children_of(server.id());
    server.stop();
    wait_until(|| !children.iter().any(|&child| is_running(child)));
    Ok(())
}

fn says_what_it_cost() -> Result<(), Failed> {
    let server = start("nonblocking_server");
    let mut client = TcpStream::connect(server.address)?;
    client.write_all(b"x")?;
    server.expect_line("b\"x\"");
    let lines = server.stop_and_read();
    let cost = lines.iter().find(|line| line.contains(" looks, ")).ok_or("says nothing")?;
    // The connection and its message are the two successes; all other attempts find nothing.
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
    // Until neither its answers nor its requests fit any more.
    while deaf.write(&[b'x'; 1024]).is_ok() {}
    server.stop();
    Ok(())
}

/// Five clients occupy the threads; a message of the sixth before the stop is still answered.
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
