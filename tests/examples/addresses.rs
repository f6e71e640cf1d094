//! Errors are one line of plain text, and name the address that cannot be reached or listened on.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};
use socket2::{Domain, Socket, Type};

use crate::support::example;

const SERVERS: [&str; 25] = [
    "asyncio_echo",
    "blocking_modes",
    "blocking_server",
    "chat",
    "custom_reactor",
    "echo_selector",
    "epoll_edge_server",
    "epoll_server",
    "fork_server",
    "keepalive_server",
    "nonblocking_server",
    "poll_ok_server",
    "process_pool_server",
    "process_server",
    "select_echo",
    "select_ok_server",
    "select_queue",
    "select_stdin_server",
    "select_thread_pool",
    "selectors_thread_pool",
    "socketserver",
    "thread_ok_server",
    "thread_server",
    "welcome_server",
    "welcome_thread_pool",
];

const CLIENTS: [&str; 3] = ["keepalive_client", "many_clients", "welcome_client"];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("udp_server::says_where_it_cannot_listen", || {
            let taken = UdpSocket::bind(("127.0.0.1", 0))?;
            cannot_listen("udp_server", taken.local_addr()?)
        }),
        Trial::test("udp_client::says_whom_it_cannot_reach", || {
            // Broadcast needs a socket option; the second address has no port.
            complains(example("udp_client").arg("255.255.255.255:9"), "255.255.255.255:9")?;
            complains(example("udp_client").arg("127.0.0.1"), "127.0.0.1: ")
        }),
    ];
    let with_feature = cfg!(feature = "async").then_some("asyncio_start_server");
    for name in SERVERS.into_iter().chain(with_feature) {
        trials.push(Trial::test(format!("{name}::says_where_it_cannot_listen"), move || {
            let taken = TcpListener::bind(("127.0.0.1", 0))?;
            cannot_listen(name, taken.local_addr()?)
        }));
    }
    for name in CLIENTS {
        trials
            .push(Trial::test(format!("{name}::says_whom_it_cannot_reach"), || cannot_reach(name)));
    }
    trials
}

fn complains(command: &mut Command, subject: &str) -> Result<(), Failed> {
    let output = command.stdin(Stdio::piped()).output()?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    assert!(!output.status.success() && said.contains(subject), "{said}");
    Ok(())
}

fn cannot_listen(name: &str, taken: SocketAddr) -> Result<(), Failed> {
    let output =
        example(name).args(["--addr", &taken.to_string()]).stdin(Stdio::piped()).output()?;
    let error = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{error}");
    let is_plain = error.starts_with("Error: ") && !error.contains("kind:") && !error.contains('"');
    assert!(is_plain && error.lines().count() == 1, "{error}");
    assert!(error.contains(&taken.to_string()), "{error}");
    Ok(())
}

fn cannot_reach(name: &str) -> Result<(), Failed> {
    // Bound but not listening, so that no other program gets the port.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let address = socket.local_addr()?.as_socket().ok_or("an address")?;
    let mut client = example(name);
    client.arg(address.to_string());
    if name == "many_clients" {
        client.args(["--clients", "2"]);
    }
    complains(&mut client, &format!("{address} cannot be reached"))
}
