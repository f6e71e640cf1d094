use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use libtest_mimic::{Completion, Failed, Trial};
use polyselect::Backend;

use crate::support::{SURELY, Server};

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for backend in Backend::available() {
        for (name, run) in [
            ("everybody_hears_the_others", everybody_hears_the_others as fn(Backend) -> _),
            ("who_does_not_read_is_dropped", who_does_not_read_is_dropped),
            ("an_endless_line_ends_its_client", an_endless_line_ends_its_client),
        ] {
            let name = format!("chat::{backend}::{name}");
            trials.push(Trial::ignorable_test(name, move || run(backend)));
        }
    }
    trials
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(server: &Server) -> Result<Self, Failed> {
        let stream = TcpStream::connect(server.address)?;
        stream.set_read_timeout(Some(SURELY))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn name(&self) -> Result<String, Failed> {
        Ok(self.0.get_ref().local_addr()?.to_string())
    }

    fn say(&mut self, text: &str) -> Result<(), Failed> {
        Ok(self.0.get_mut().write_all(text.as_bytes())?)
    }

    fn hears(&mut self, expected: &str) -> Result<(), Failed> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        assert_eq!(line, expected);
        Ok(())
    }
}

fn start(backend: Backend) -> Server {
    Server::start("chat", &["--backend", backend.name()])
}

fn everybody_hears_the_others(backend: Backend) -> Result<Completion, Failed> {
    let server = start(backend);
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..3 {
        let client = Client::connect(&server)?;
        let name = client.name()?;
        for earlier in &mut clients {
            earlier.hears(&format!("* {name} came\n"))?;
        }
        clients.push(client);
    }
    let [mut one, mut two, mut three] = clients.try_into().map_err(|_| "three clients")?;
    one.say("hel")?;
    one.say("lo\nagain\r\n")?;
    for other in [&mut two, &mut three] {
        other.hears(&format!("{}: hello\n", one.name()?))?;
        other.hears(&format!("{}: again\n", one.name()?))?;
    }
    let gone = three.name()?;
    three.0.get_ref().shutdown(Shutdown::Both)?;
    one.hears(&format!("* {gone} left\n"))?;
    two.hears(&format!("* {gone} left\n"))?;
    // A line is sent to the other clients, not to its sender.
    two.say("bye\n")?;
    one.hears(&format!("{}: bye\n", two.name()?))?;
    one.say("bye\n")?;
    two.hears(&format!("{}: bye\n", one.name()?))?;
    server.stop();
    Ok(Completion::Completed)
}

fn who_does_not_read_is_dropped(backend: Backend) -> Result<Completion, Failed> {
    let server = start(backend);
    let mut talker = Client::connect(&server)?;
    let deaf = Client::connect(&server)?;
    talker.hears(&format!("* {} came\n", deaf.name()?))?;
    let dropped = format!("* {} does not read, and was dropped\n", deaf.name()?);
    let mut reader = Client(BufReader::new(talker.0.get_ref().try_clone()?));
    let listener = std::thread::spawn(move || reader.hears(&dropped).map_err(|_| ()));
    let line = format!("{}\n", "x".repeat(4000));
    while !listener.is_finished() {
        talker.say(&line)?;
    }
    listener.join().expect("heard").map_err(|()| "no notice")?;
    // The server still accepts new clients.
    let newcomer = Client::connect(&server)?;
    talker.hears(&format!("* {} came\n", newcomer.name()?))?;
    server.stop();
    Ok(Completion::Completed)
}

fn an_endless_line_ends_its_client(backend: Backend) -> Result<Completion, Failed> {
    let server = start(backend);
    let mut other = Client::connect(&server)?;
    let mut endless = Client::connect(&server)?;
    other.hears(&format!("* {} came\n", endless.name()?))?;
    endless.say(&"x".repeat(4097))?;
    let gone = format!("* {} left: a line is longer than 4096 bytes\n", endless.name()?);
    other.hears(&gone)?;
    assert_eq!(endless.0.read(&mut [0])?, 0);
    server.stop();
    Ok(Completion::Completed)
}
