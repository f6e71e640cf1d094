//! What every server must withstand, whatever it answers: one case per scenario and backend.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use polyselect::Backend;

use super::{SURELY, Server, burst, example, with_descriptors};

type Story = fn(&Subject, Backend) -> Result<(), Failed>;
type OwnStory = fn() -> Result<(), Failed>;

const A_BURST: &str = "a_thousand_that_connect_at_once_get_every_byte";

/// A server that answers each message.
pub struct Subject {
    pub example: &'static str,
    /// The answer to a message of at most 100 bytes.
    pub answer: fn(&[u8]) -> Vec<u8>,
}

impl Subject {
    /// The cases of all servers.
    pub fn trials(&'static self, backends: impl Iterator<Item = Backend>) -> Vec<Trial> {
        let stories: [(&str, Story); 6] = [
            ("answers_each_of_many", answers_each_of_many),
            ("answers_one_who_has_ended", answers_one_who_has_ended),
            ("bears_resets_and_who_reads_nothing", bears_resets_and_who_reads_nothing),
            ("answers_messages_that_pile_up", answers_messages_that_pile_up),
            ("runs_out_of_descriptors_and_goes_on", runs_out_of_descriptors_and_goes_on),
            (A_BURST, bears_a_burst),
        ];
        let trial = |backend: Backend, (name, story): (&str, Story)| {
            let name = format!("{}::{backend}::{name}", self.example);
            Trial::test(name, move || story(self, backend))
        };
        backends.flat_map(|backend| stories.map(|story| trial(backend, story))).collect()
    }

    /// Only the case of a burst of connections.
    pub fn burst_trials(&'static self) -> Vec<Trial> {
        self.own_on(Backend::available(), A_BURST, |backend| self.bears_a_burst(backend, || ()))
    }

    /// Cases of this server alone.
    pub fn own(&'static self, stories: &[(&str, OwnStory)]) -> Vec<Trial> {
        let named = |name| format!("{}::{name}", self.example);
        stories.iter().map(|&(name, story)| Trial::test(named(name), story)).collect()
    }

    /// One case per backend.
    pub fn own_on(
        &'static self,
        backends: impl Iterator<Item = Backend>,
        name: &str,
        story: impl Fn(Backend) -> Result<(), Failed> + Clone + Send + 'static,
    ) -> Vec<Trial> {
        let named = |backend: Backend| format!("{}::{backend}::{name}", self.example);
        let trial = |backend| {
            let story = story.clone();
            Trial::test(named(backend), move || story(backend))
        };
        backends.map(trial).collect()
    }

    /// Whether the server answers each byte with one, however the bytes are split into messages.
    pub fn echoes(&self) -> bool {
        (self.answer)(b"x").len() == 1
    }

    pub fn command(&self, backend: Backend) -> Command {
        let mut command = example(self.example);
        command.args(["--addr", "127.0.0.1:0", "--backend", backend.name()]);
        command.stdin(Stdio::null());
        command
    }

    pub fn start(&self, backend: Backend) -> Server {
        Server::start_with(self.command(backend))
    }

    pub fn start_quietly(&self, backend: Backend) -> Server {
        let mut command = self.command(backend);
        command.env("RUST_LOG", "off");
        Server::start_with(command)
    }

    /// Whatever else the system does meanwhile.
    pub fn bears_a_burst<L>(
        &self,
        backend: Backend,
        load: impl FnOnce() -> L,
    ) -> Result<(), Failed> {
        burst::bear_a_burst(self, Server::start_unread(self.command(backend)), load)
    }

    /// A client that sends without pause does not starve another.
    pub fn leaves_room_for_others(&self, backend: Backend) -> Result<(), Failed> {
        let server = self.start_quietly(backend);
        let busy = Busy::connect(server.address)?;
        let client = connect(server.address)?;
        for _ in 0..20 {
            self.talk(&client, b"hello")?;
        }
        busy.stop()?;
        server.stop();
        Ok(())
    }

    /// Sends a message, and fails if the answer is wrong.
    pub fn talk(&self, mut client: &TcpStream, message: &[u8]) -> Result<(), Failed> {
        client.write_all(message)?;
        let expected = (self.answer)(message);
        let mut answer = vec![0; expected.len()];
        client.read_exact(&mut answer)?;
        assert_eq!(answer.escape_ascii().to_string(), expected.escape_ascii().to_string());
        Ok(())
    }
}

/// Connects a client with a time limit.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(SURELY))?;
    client.set_write_timeout(Some(SURELY))?;
    Ok(client)
}

/// A client that sends without pause, and reads the answers.
pub struct Busy {
    client: TcpStream,
    writer: JoinHandle<io::Result<u64>>,
    reader: JoinHandle<io::Result<u64>>,
}

impl Busy {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let client = connect(address)?;
        let [mut writing, mut reading] = [client.try_clone()?, client.try_clone()?];
        let writer = thread::spawn(move || io::copy(&mut io::repeat(b'x'), &mut writing));
        let reader = thread::spawn(move || io::copy(&mut reading, &mut io::sink()));
        Ok(Self { client, writer, reader })
    }

    pub fn stop(self) -> io::Result<()> {
        self.client.shutdown(Shutdown::Both)?;
        self.writer.join().expect("does not panic").unwrap_err();
        let _ = self.reader.join().expect("does not panic");
        Ok(())
    }
}

/// Resets the connection.
pub fn reset(client: TcpStream) -> io::Result<()> {
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    drop(client);
    Ok(())
}

fn answers_each_of_many(subject: &Subject, backend: Backend) -> Result<(), Failed> {
    let server = subject.start_quietly(backend);
    let clients =
        (0..20).map(|_| connect(server.address)).collect::<io::Result<Vec<TcpStream>>>()?;
    for round in 0..3 {
        for (number, client) in clients.iter().enumerate() {
            subject.talk(client, format!("client {number}, round {round}").as_bytes())?;
        }
    }
    // All clients at the same time.
    for (number, mut client) in clients.iter().enumerate() {
        client.write_all(format!("at once {number}").as_bytes())?;
    }
    for (number, mut client) in clients.iter().enumerate() {
        let expected = (subject.answer)(format!("at once {number}").as_bytes());
        let mut answer = vec![0; expected.len()];
        client.read_exact(&mut answer)?;
        assert_eq!(answer, expected);
    }
    server.stop();
    Ok(())
}

fn answers_one_who_has_ended(subject: &Subject, backend: Backend) -> Result<(), Failed> {
    let server = subject.start_quietly(backend);
    let mut client = connect(server.address)?;
    subject.talk(&client, b"first words")?;
    client.write_all(b"last words")?;
    client.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer)?;
    assert_eq!(answer, (subject.answer)(b"last words"));
    server.stop();
    Ok(())
}

fn bears_resets_and_who_reads_nothing(subject: &Subject, backend: Backend) -> Result<(), Failed> {
    let server = subject.start_quietly(backend);
    let deaf = connect(server.address)?;
    deaf.set_nonblocking(true)?;
    while (&deaf).write(&[b'x'; 65536]).is_ok() {}
    for _ in 0..50 {
        let client = connect(server.address)?;
        (&client).write_all(b"never mind")?;
        reset(client)?;
    }
    let client = connect(server.address)?;
    for _ in 0..10 {
        subject.talk(&client, b"still there?")?;
    }
    reset(deaf)?;
    subject.talk(&client, b"still there?")?;
    server.stop();
    Ok(())
}

/// How the stream is split into messages is unknown; the number of answers shows at its end.
fn answers_messages_that_pile_up(subject: &Subject, backend: Backend) -> Result<(), Failed> {
    let server = subject.start_quietly(backend);
    let client = connect(server.address)?;
    let mut writing = client.try_clone()?;
    let writer = thread::spawn(move || {
        for _ in 0..64 {
            writing.write_all(&[b'x'; 4096])?;
        }
        writing.shutdown(Shutdown::Write)
    });
    let mut answers = Vec::new();
    (&client).read_to_end(&mut answers)?;
    writer.join().expect("does not panic")?;
    let one = (subject.answer)(b"x");
    // An echo returns the same number of bytes; others answer each piece of at most 1024 bytes.
    assert!(answers.len() >= one.len() * 256 && answers.len() % one.len() == 0);
    assert!(answers.chunks(one.len()).all(|answer| answer == one));
    if subject.echoes() {
        assert_eq!(answers.len(), 64 * 4096);
    }
    server.stop();
    Ok(())
}

fn runs_out_of_descriptors_and_goes_on(subject: &Subject, backend: Backend) -> Result<(), Failed> {
    let mut command = with_descriptors(24, &subject.command(backend));
    command.env("RUST_LOG", "off");
    let server = Server::start_with(command);
    let clients =
        (0..40).map(|_| connect(server.address)).collect::<io::Result<Vec<TcpStream>>>()?;
    for client in clients {
        subject.talk(&client, b"my turn")?;
    }
    server.stop();
    Ok(())
}

fn bears_a_burst(subject: &Subject, backend: Backend) -> Result<(), Failed> {
    subject.bears_a_burst(backend, || ())
}
