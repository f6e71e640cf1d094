//! The load: connections that send messages, and check every byte that comes back. The same program
//! for all servers: raw epoll, edge-triggered.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use polyselect_benches::Pattern;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::retry_on_intr;
use rustix::net::sockopt::set_socket_linger;

const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

pub struct Load {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    clients: Vec<Client>,
    pattern: Pattern,
    buffer: Vec<u8>,
    size: u64,
    pipelining: u64,
}

struct Client {
    stream: TcpStream,
    number: u64,
    /// All three count bytes since the beginning.
    wanted: u64,
    sent: u64,
    received: u64,
}

/// Messages of one run.
struct Left {
    unsent: u64,
    unanswered: u64,
}

impl Load {
    pub fn connect(
        address: SocketAddr,
        connections: usize,
        size: u64,
        pipelining: u64,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut clients = Vec::with_capacity(connections);
        for index in 0..connections {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            // Closing resets; otherwise thousands of ports would stay occupied for a minute.
            set_socket_linger(&stream, Some(Duration::ZERO))?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(index as u64), flags)?;
            clients.push(Client { stream, number: index as u64, wanted: 0, sent: 0, received: 0 });
        }
        let (events, buffer) = (Vec::with_capacity(1024), vec![0; Pattern::LONGEST]);
        Ok(Self { epoll, events, clients, pattern: Pattern::new(), buffer, size, pipelining })
    }

    /// Sends `messages` messages, waits until all have come back, and returns the time that this took.
    pub fn run(&mut self, messages: u64) -> io::Result<Duration> {
        let start = Instant::now();
        let mut left = Left { unsent: messages, unanswered: messages };
        for client in &mut self.clients {
            let first = self.pipelining.min(left.unsent);
            left.unsent -= first;
            client.wanted += first * self.size;
            client.send(&self.pattern)?;
        }
        while left.unanswered > 0 {
            self.events.clear();
            let Self { epoll, events, .. } = self;
            let wait = || epoll::wait(&*epoll, spare_capacity(events), Some(&PATIENCE));
            if retry_on_intr(wait)? == 0 {
                let message = format!("the server leaves {} messages unanswered", left.unanswered);
                return Err(io::Error::new(ErrorKind::TimedOut, message));
            }
            for event in &self.events {
                let client = &mut self.clients[{ event.data }.u64() as usize];
                let answered = client.receive(&self.pattern, &mut self.buffer, self.size)?;
                left.unanswered -= answered;
                let next = answered.min(left.unsent);
                left.unsent -= next;
                client.wanted += next * self.size;
                client.send(&self.pattern)?;
            }
        }
        Ok(start.elapsed())
    }
}

impl Client {
    /// Sends the permitted messages as far as the socket takes them.
    fn send(&mut self, pattern: &Pattern) -> io::Result<()> {
        while self.sent < self.wanted {
            let length = (self.wanted - self.sent).min(Pattern::LONGEST as u64) as usize;
            let bytes = pattern.part(self.number, self.sent, length);
            match (&self.stream).write(bytes) {
                Ok(written) => self.sent += written as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Checks the received bytes, and returns the number of messages that they complete.
    fn receive(&mut self, pattern: &Pattern, buffer: &mut [u8], size: u64) -> io::Result<u64> {
        let before = self.received;
        loop {
            let length = match (&self.stream).read(buffer) {
                Ok(0) => {
                    let message = "the server has closed a connection";
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, message));
                }
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let expected = pattern.part(self.number, self.received, length);
            self.received += length as u64;
            if buffer[..length] != *expected || self.received > self.sent {
                let message = "the server sends back a wrong byte";
                return Err(io::Error::new(ErrorKind::InvalidData, message));
            }
            if length < buffer.len() {
                break;
            }
        }
        Ok(self.received / size - before / size)
    }
}
