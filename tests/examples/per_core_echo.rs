use std::io::{Read, Write};
use std::net::TcpStream;

use libtest_mimic::{Failed, Trial};
use polyselect::Backend;

use crate::support::Server;
use crate::support::subject::{Subject, connect, reset};

static SUBJECT: Subject = Subject { example: "per_core_echo", answer: <[u8]>::to_vec };

type Story = fn(Server) -> Result<(), Failed>;

pub fn trials() -> Vec<Trial> {
    let stories: [(&str, Story); 3] = [
        ("stopping_answers_what_has_arrived", stopping_answers_what_has_arrived),
        ("stopping_gives_up_a_peer_that_does_not_read", stopping_gives_up_a_peer),
        ("a_reset_ends_its_connection_alone", a_reset_ends_its_connection_alone),
    ];
    let mut trials = SUBJECT.burst_trials();
    for (name, story) in stories {
        for hand_over in [false, true] {
            let way = if hand_over { "hand_over" } else { "divided" };
            let trial = move |backend| story(start(backend, 2, hand_over));
            trials.extend(SUBJECT.own_on(Backend::available(), &format!("{way}::{name}"), trial));
        }
    }
    trials.extend(SUBJECT.own(&[("hand_over_uses_every_loop", hand_over_uses_every_loop)]));
    trials
}

fn start(backend: Backend, cores: usize, hand_over: bool) -> Server {
    let mut command = SUBJECT.command(backend);
    command.args(["--cores", &cores.to_string()]);
    if hand_over {
        command.arg("--hand-over");
    }
    Server::start_with(command)
}

/// Connects clients, and waits until each is answered.
fn clients(server: &Server) -> Result<Vec<TcpStream>, Failed> {
    let clients = (0..8).map(|_| connect(server.address)).collect::<Result<Vec<_>, _>>()?;
    for (number, client) in clients.iter().enumerate() {
        SUBJECT.talk(client, format!("client {number}").as_bytes())?;
    }
    Ok(clients)
}

fn stopping_answers_what_has_arrived(server: Server) -> Result<(), Failed> {
    let clients = clients(&server)?;
    for mut client in &clients {
        client.write_all(b"last words")?;
    }
    server.stop();
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        assert_eq!(answer, "last words");
    }
    Ok(())
}

fn stopping_gives_up_a_peer(server: Server) -> Result<(), Failed> {
    let clients = clients(&server)?;
    let mut silent = connect(server.address)?;
    silent.set_nonblocking(true)?;
    while silent.write(&[b'x'; 65536]).is_ok() {}
    server.stop();
    for mut client in clients {
        assert_eq!(client.read(&mut [0; 8])?, 0);
    }
    Ok(())
}

fn a_reset_ends_its_connection_alone(server: Server) -> Result<(), Failed> {
    let mut clients = clients(&server)?;
    for client in clients.drain(..4) {
        reset(client)?;
    }
    for client in &clients {
        SUBJECT.talk(client, b"still there?")?;
    }
    server.stop();
    Ok(())
}

/// Connections are handed out in turn, so the number is exact.
fn hand_over_uses_every_loop() -> Result<(), Failed> {
    let server = start(Backend::Poll, 3, true);
    let mut clients = Vec::new();
    for number in 0..6 {
        let client = connect(server.address)?;
        SUBJECT.talk(&client, b"hello")?;
        let core = [1, 2, 0][number % 3];
        server.expect_line(&format!("core {core} serves a connection"));
        clients.push(client);
    }
    server.stop();
    Ok(())
}
