//! Errors are one line of plain text, and name the address that cannot be reached or listened on, or the folder
//! that cannot be read.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};
use socket2::{Domain, Socket, Type};

use crate::output::servers;
use crate::support::example;

const CLIENTS: [&str; 4] = ["ftp_client", "keepalive_client", "many_clients", "welcome_client"];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("udp_client::says_whom_it_cannot_reach", || {
            // Broadcast needs a socket option; the second address has no port.
            complains(example("udp_client").arg("255.255.255.255:9"), "255.255.255.255:9")?;
            complains(example("udp_client").arg("127.0.0.1"), "127.0.0.1")?;
            let (_closed, address) = closed_port_of_udp()?;
            complains(example("udp_client").arg(&address), &address)
        }),
        Trial::test("addresses::a_folder_that_cannot_be_read_is_named", folder_cannot_be_read),
    ];
    let servers = servers().expect("the folder of the examples can be read");
    for name in servers.into_iter().chain(["blocking_modes".to_owned()]) {
        trials.push(Trial::test(format!("{name}::says_where_it_cannot_listen"), move || {
            let taken = TcpListener::bind(("127.0.0.1", 0))?;
            let taken_by_udp = UdpSocket::bind(("127.0.0.1", 0))?;
            let is_udp = name == "udp_server";
            let taken = if is_udp { taken_by_udp.local_addr() } else { taken.local_addr() };
            cannot_listen(&name, taken?)
        }));
    }
    for name in CLIENTS {
        trials
            .push(Trial::test(format!("{name}::says_whom_it_cannot_reach"), || cannot_reach(name)));
    }
    trials
}

/// Checks that a program fails with one line of plain text that names the subject.
fn complains(command: &mut Command, subject: &str) -> Result<(), Failed> {
    let output = command.stdin(Stdio::null()).output()?;
    let error = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{error}");
    let is_plain = error.starts_with("Error: ") && !error.contains("kind:");
    assert!(is_plain && error.lines().count() == 1, "{error}");
    assert!(error.contains(subject), "{error}");
    Ok(())
}

fn cannot_listen(name: &str, taken: SocketAddr) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut server = example(name);
    server.args(["--addr", &taken.to_string()]);
    if name == "ftp_server" {
        server.arg(folder.path());
    }
    complains(&mut server, &format!("cannot listen on {taken}: "))
}

/// A missing folder, a file, and a folder without permissions.
fn folder_cannot_be_read() -> Result<(), Failed> {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    fs::write(path("file"), "")?;
    fs::create_dir(path("closed"))?;
    fs::set_permissions(path("closed"), fs::Permissions::from_mode(0o000))?;
    // The superuser can read it all the same.
    let can_read_all = fs::read_dir(path("closed")).is_ok();
    for name in ["missing", "file", "closed"] {
        if name == "closed" && can_read_all {
            continue;
        }
        for server in ["ftp_server", "http_server"] {
            let mut command = example(server);
            command.args(["--addr", "127.0.0.1:0"]).arg(path(name));
            complains(&mut command, &path(name).display().to_string())?;
        }
    }
    Ok(())
}

/// A port that no program of this system receives from, while the socket exists.
fn closed_port_of_udp() -> Result<(UdpSocket, String), Failed> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    let address = socket.local_addr()?.to_string();
    // A connected socket receives from its peer only.
    socket.connect(socket.local_addr()?)?;
    Ok((socket, address))
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
