//! A connection: requests in, responses out in the same order, a bounded amount per iteration.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use polyselect::{Event, Interest, WriteQueue};

use crate::request::{self, LONGEST_HEAD, Refusal, Request};
use crate::response::{Body, Response};
use crate::site::Site;

/// The bytes of a file that are read at once, and the number of reads per iteration, bounded so
/// that other clients are served.
const CHUNK: usize = 64 * 1024;
const CHUNKS_A_TURN: usize = 4;

/// How long a client that has not sent its whole request may take to read the answer.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long the server waits for clients.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the rest of a request's head, once it has begun.
    pub head: Duration,
    /// For the next request, and for a client to read some of what is sent.
    pub idle: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitingFor {
    Request,
    RestOfHead,
    Reader,
    /// The last response is sent. Further input is read and discarded: closing with unread bytes
    /// resets the connection, and the last response could be lost.
    End,
}

#[derive(Debug)]
pub struct Connection {
    peer: SocketAddr,
    patience: Patience,
    input: Vec<u8>,
    has_ended: bool,
    outgoing: WriteQueue,
    /// The part of the response that is not in `outgoing` yet.
    body: Body,
    /// Whether the current response is the last.
    is_last: bool,
    waiting_for: WaitingFor,
    deadline: Instant,
}

impl Connection {
    pub fn new(peer: SocketAddr, patience: Patience) -> Self {
        Self {
            peer,
            patience,
            input: Vec::new(),
            has_ended: false,
            outgoing: WriteQueue::new(),
            body: Body::Nothing,
            is_last: false,
            waiting_for: WaitingFor::Request,
            deadline: Instant::now() + patience.idle,
        }
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Runs one step. Returns the interest to wait for, or `None` at the end.
    pub fn go_on(
        &mut self,
        site: &Site,
        stream: &TcpStream,
        event: Event,
    ) -> io::Result<Option<Interest>> {
        if self.waiting_for == WaitingFor::End {
            return forget_input(stream);
        }
        if event.is_readable() {
            self.read(stream)?;
        }
        for _ in 0..CHUNKS_A_TURN {
            self.answer(site);
            if !self.is_sending_body() && self.outgoing.is_empty() {
                return self.rest(stream);
            }
            if !self.send(stream)? {
                break;
            }
        }
        Ok(Some(self.wait(WaitingFor::Reader)))
    }

    /// All complete requests are answered and sent.
    fn rest(&mut self, stream: &TcpStream) -> io::Result<Option<Interest>> {
        if self.has_ended {
            return Ok(None);
        }
        let waiting_for = if self.is_last {
            stream.shutdown(Shutdown::Write)?;
            WaitingFor::End
        } else if self.input.is_empty() {
            WaitingFor::Request
        } else {
            WaitingFor::RestOfHead
        };
        Ok(Some(self.wait(waiting_for)))
    }

    /// Handles an elapsed deadline: answers a client that has sent half a request. Returns the
    /// interest to wait for, or `None` if the connection is to be closed.
    pub fn give_up(&mut self) -> Option<Interest> {
        if self.waiting_for != WaitingFor::RestOfHead {
            let does = match self.waiting_for {
                WaitingFor::Reader => "reads nothing",
                _ => "says nothing",
            };
            log::info!("{} {does}", self.peer);
            return None;
        }
        log::info!("{} is too slow", self.peer);
        self.input.clear();
        self.refuse(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request took too long"));
        Some(self.wait(WaitingFor::Reader))
    }

    fn read(&mut self, mut stream: &TcpStream) -> io::Result<()> {
        // Nothing more is read until this is answered, which bounds the buffer.
        let mut bytes = [0; LONGEST_HEAD];
        let room = LONGEST_HEAD - self.input.len();
        if room == 0 {
            return Ok(());
        }
        match stream.read(&mut bytes[..room]) {
            Ok(0) => self.has_ended = true,
            Ok(n) => self.input.extend(&bytes[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Answers the complete requests, until there is enough to send.
    fn answer(&mut self, site: &Site) {
        while !self.is_sending_body() && !self.outgoing.is_high() && !self.is_last {
            // Some clients send an empty line after a request.
            let blank = self.input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.input.drain(..blank);
            match request::parse(&self.input) {
                Ok(Some((request, length))) => {
                    self.input.drain(..length);
                    self.respond(site, &request);
                }
                Ok(None) => return,
                Err(refusal) => {
                    log::info!("{} no request: {}", self.peer, refusal.why);
                    self.refuse(refusal);
                }
            }
        }
    }

    fn respond(&mut self, site: &Site, request: &Request) {
        let response = site.respond(request);
        log::info!(
            "{} {:?} {} {}",
            self.peer,
            request.line,
            response.status.as_u16(),
            response.body.len()
        );
        self.is_last = request.closes;
        self.queue(response, Some(request));
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.is_last = true;
        self.queue(Response::from(refusal), None);
    }

    fn queue(&mut self, response: Response, request: Option<&Request>) {
        self.wait(WaitingFor::Reader);
        self.outgoing.push(response.head(request).as_bytes());
        match response.body {
            _ if request.is_some_and(|request| request.method == Method::HEAD) => {}
            Body::Text(text) => self.outgoing.push(text.as_bytes()),
            body => self.body = body,
        }
    }

    /// Sends the queue and a part of the body; returns whether the client took all of it.
    fn send(&mut self, stream: &TcpStream) -> io::Result<bool> {
        let before = self.outgoing.len() as u64 + self.body.len();
        if let Body::File(file, left) = &mut self.body
            && !self.outgoing.is_high()
        {
            let mut chunk = [0; CHUNK];
            let most = usize::try_from(*left).map_or(CHUNK, |left| left.min(CHUNK));
            let n = file.read(&mut chunk[..most])?;
            if n == 0 && *left > 0 {
                // The length has been sent, so only closing the connection can report the failure.
                let message = format!("a file became {left} bytes shorter while it was sent");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            *left -= n as u64;
            if *left == 0 {
                self.body = Body::Nothing;
            }
            self.outgoing.send(stream, &chunk[..n])?;
        } else {
            self.outgoing.flush(stream)?;
        }
        if self.outgoing.len() as u64 + self.body.len() < before {
            self.deadline = Instant::now() + self.patience.idle;
        }
        Ok(self.outgoing.is_empty())
    }

    fn is_sending_body(&self) -> bool {
        !matches!(self.body, Body::Nothing)
    }

    /// Each kind of waiting has its own deadline, set when it begins.
    fn wait(&mut self, waiting_for: WaitingFor) -> Interest {
        if waiting_for != self.waiting_for {
            self.waiting_for = waiting_for;
            let patience = match waiting_for {
                WaitingFor::Request | WaitingFor::Reader => self.patience.idle,
                WaitingFor::RestOfHead => self.patience.head,
                WaitingFor::End => FAREWELL,
            };
            self.deadline = Instant::now() + patience;
        }
        match waiting_for {
            WaitingFor::Reader => Interest::WRITABLE,
            _ => Interest::READABLE,
        }
    }
}

fn forget_input(mut stream: &TcpStream) -> io::Result<Option<Interest>> {
    let n = stream.read(&mut [0; CHUNK])?;
    Ok((n > 0).then_some(Interest::READABLE))
}
