//! The servers without a selector, with more clients than descriptors.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use crate::support::subject::connect;
use crate::support::{Server, children_of, example, wait_until, with_descriptors};

/// The servers that hold the connections of all clients, and their answers.
const HOLDING: [(&str, &[&str], &str); 4] = [
    ("thread_server", &[], ""),
    ("thread_ok_server", &[], "OK"),
    ("keepalive_server", &[], "Server received your message."),
    ("socketserver", &["--mixin", "threading"], "Server received your message:hello"),
];

/// The servers with a process per connection.
const HANDING_ON: [(&str, &[&str]); 3] =
    [("process_server", &[]), ("fork_server", &[]), ("socketserver", &["--mixin", "forking"])];

const LIMIT: u8 = 24;
const CLIENTS: usize = 40;

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, arguments, answer) in HOLDING {
        trials
            .push(Trial::test(format!("{name}::runs_out_of_descriptors_and_goes_on"), move || {
                runs_out(name, arguments, answer)
            }));
    }
    for (name, arguments) in HANDING_ON {
        trials.push(Trial::test(
            format!("{name}::a_process_for_each_has_descriptors_for_all"),
            move || does_not_run_out(name, arguments),
        ));
    }
    trials
}

fn start(name: &str, arguments: &[&str]) -> Server {
    let mut server = example(name);
    server.args(["--addr", "127.0.0.1:0"]).args(arguments);
    Server::start_with(with_descriptors(LIMIT, &server))
}

/// Clients that have sent a message.
fn crowd(server: &Server) -> Result<Vec<TcpStream>, Failed> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = connect(server.address)?;
        client.write_all(b"hello")?;
        clients.push(client);
    }
    Ok(clients)
}

fn runs_out(name: &str, arguments: &[&str], answer: &str) -> Result<(), Failed> {
    let server = start(name, arguments);
    let clients = crowd(&server)?;
    server.expect_line("to wait: ");
    let [first, .., last] = &clients[..] else { return Err("many clients".into()) };

    // The server waits for a free descriptor without polling.
    let interval = Duration::from_millis(500);
    if let Some(before) = processor_ticks(server.id()) {
        thread::sleep(interval);
        let used = processor_ticks(server.id()).ok_or("still runs")? - before;
        let most = rustix::param::clock_ticks_per_second() / 10;
        assert!(used <= most, "{used} ticks of the processor in {interval:?}");
    }

    // Accepted clients are served, the others wait.
    hear(first, answer)?;
    talk(&server, first, answer, "I am in")?;
    last.set_nonblocking(true)?;
    assert!(last.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    last.set_nonblocking(false)?;

    // As they disconnect, the others are served.
    let mut clients = clients.into_iter();
    clients.next();
    for (number, client) in clients.enumerate() {
        hear(&client, answer)?;
        talk(&server, &client, answer, &format!("my turn, {number}"))?;
    }
    server.stop();
    Ok(())
}

/// Reads the answer to a message, if the server has one.
fn hear(mut client: &TcpStream, answer: &str) -> Result<(), Failed> {
    let mut heard = vec![0; answer.len()];
    client.read_exact(&mut heard)?;
    assert_eq!(String::from_utf8_lossy(&heard), answer);
    Ok(())
}

fn talk(
    server: &Server,
    mut client: &TcpStream,
    answer: &str,
    message: &str,
) -> Result<(), Failed> {
    client.write_all(message.as_bytes())?;
    server.expect_line(message);
    hear(client, &answer.replace("hello", message))
}

fn does_not_run_out(name: &str, arguments: &[&str]) -> Result<(), Failed> {
    let server = start(name, arguments);
    let clients = crowd(&server)?;
    wait_until(|| children_of(server.id()).len() == CLIENTS);
    for (number, mut client) in clients.iter().enumerate() {
        let message = format!("at once, {number}");
        client.write_all(message.as_bytes())?;
        server.expect_line(&message);
    }
    server.stop();
    Ok(())
}

/// The processor time of a process, if the system has `/proc`.
fn processor_ticks(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    // User and system time; the state is the first field after the name.
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().ok());
    ticks.sum()
}
