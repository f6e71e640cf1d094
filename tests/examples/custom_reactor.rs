use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use libtest_mimic::{Completion, Failed, Trial};
use polyselect::Backend;

use crate::support::Server;
use crate::support::subject::Subject;

static SUBJECT: Subject = Subject { example: "custom_reactor", answer: <[u8]>::to_vec };

pub fn trials() -> Vec<Trial> {
    let run = |backend| {
        Trial::ignorable_test(format!("custom_reactor::{backend}::echoes"), move || echoes(backend))
    };
    SUBJECT.burst_trials().into_iter().chain(Backend::available().map(run)).collect()
}

fn echoes(backend: Backend) -> Result<Completion, Failed> {
    let server = Server::start("custom_reactor", &["--backend", backend.name()]);
    let mut clients: Vec<_> =
        (0..20).map(|_| TcpStream::connect(server.address)).collect::<Result<_, _>>()?;
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(format!("hello {number:2}").as_bytes())?;
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let mut reply = [0; 8];
        client.read_exact(&mut reply)?;
        assert_eq!(reply, *format!("hello {number:2}").as_bytes());
    }
    // More than the sockets on the way can hold, from a client that sends everything before it
    // reads.
    let mut client = clients.pop().ok_or("a client")?;
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let sender = {
        let (mut client, bytes) = (client.try_clone()?, bytes.clone());
        std::thread::spawn(move || {
            client.write_all(&bytes).and_then(|()| client.shutdown(Shutdown::Write))
        })
    };
    let mut echoed = Vec::new();
    client.read_to_end(&mut echoed)?;
    sender.join().expect("sends")?;
    assert!(echoed == bytes);
    server.stop();
    Ok(Completion::Completed)
}
