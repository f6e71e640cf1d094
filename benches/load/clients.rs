//! The clients, all in one thread: raw epoll, edge-triggered.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use polyselect_benches::Pattern;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use crate::client::{Client, Shared, Stay, Step, Tally};

/// A reply or an end that takes longer counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

const SWEEP: Duration = Duration::from_secs(1);

/// The most connections that wait to be accepted, because a kernel drops or resets those that do not fit into the
/// listener's queue.
const NEWCOMERS: usize = 512;

pub struct Clients {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    /// By their number among the events.
    places: Vec<Option<Client>>,
    free: Vec<usize>,
    /// How many have not been answered yet.
    newcomers: usize,
    addresses: Vec<SocketAddr>,
    shared: Shared,
    /// Connections since the beginning.
    opened: u64,
}

impl Clients {
    pub fn new(addresses: Vec<SocketAddr>, connections: usize, idle: Duration) -> io::Result<Self> {
        let shared = Shared {
            pattern: Pattern::new(),
            buffer: vec![0; Pattern::LONGEST],
            random: fastrand::Rng::with_seed(1),
            idle,
            stay: Stay::UntilAllHaveCome,
            tally: Tally::default(),
        };
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(1024),
            places: (0..connections).map(|_| None).collect(),
            free: (0..connections).collect(),
            newcomers: 0,
            addresses,
            shared,
            opened: 0,
        })
    }

    /// Connects all clients, lets clients come and go until the time has passed, and waits for the last to leave. Calls
    /// back when all are connected.
    pub fn run(
        &mut self,
        length: Duration,
        mut all_are_there: impl FnMut() -> io::Result<()>,
    ) -> io::Result<Tally> {
        let connections = self.places.len() as u64;
        let (mut all_came, mut last_sweep) = (None::<Instant>, Instant::now());
        loop {
            self.shared.stay = match all_came {
                None => Stay::UntilAllHaveCome,
                Some(since) if since.elapsed() < length => Stay::AsLongAsMeant,
                Some(_) => Stay::NoLonger,
            };
            if all_came.is_none() && self.shared.tally.opened == connections && self.newcomers == 0
            {
                all_came = Some(Instant::now());
                all_are_there()?;
                self.shared.stay = Stay::AsLongAsMeant;
                for place in 0..self.places.len() {
                    self.step(place)?;
                }
            }
            if self.shared.stay != Stay::NoLonger {
                self.arrive()?;
            } else if self.free.len() == self.places.len() {
                break;
            }
            self.work()?;
            if last_sweep.elapsed() >= SWEEP {
                last_sweep = Instant::now();
                self.sweep()?;
            }
        }
        Ok(std::mem::take(&mut self.shared.tally))
    }

    fn arrive(&mut self) -> io::Result<()> {
        while self.newcomers < NEWCOMERS {
            let Some(place) = self.free.pop() else { break };
            let begun = Instant::now();
            let address = self.addresses[self.opened as usize % self.addresses.len()];
            let stream = begin_to_connect(address)?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(place as u64), flags)?;
            let client = Client::new(stream, self.opened, begun, &mut self.shared.random);
            self.places[place] = Some(client);
            self.opened += 1;
            self.newcomers += 1;
            self.shared.tally.opened += 1;
        }
        Ok(())
    }

    fn work(&mut self) -> io::Result<()> {
        const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        self.events.clear();
        let Self { epoll, events, .. } = self;
        retry_on_intr(|| epoll::wait(&*epoll, spare_capacity(events), Some(&MOMENT)))?;
        for index in 0..self.events.len() {
            self.step({ self.events[index].data }.u64() as usize)?;
        }
        Ok(())
    }

    /// Lets the client at this index read and write.
    fn step(&mut self, place: usize) -> io::Result<()> {
        let Some(client) = &mut self.places[place] else { return Ok(()) };
        let was_newcomer = client.is_newcomer();
        let step = client.step(&mut self.shared)?;
        let is_newcomer = matches!(step, Step::Stays) && client.is_newcomer();
        self.newcomers -= usize::from(was_newcomer && !is_newcomer);
        match step {
            Step::Stays => return Ok(()),
            Step::Left(manner) => {
                *self.shared.tally.left.entry(manner.name()).or_default() += 1;
            }
            Step::TooSlow => self.shared.tally.too_slow += 1,
        }
        self.places[place] = None;
        self.free.push(place);
        Ok(())
    }

    fn sweep(&self) -> io::Result<()> {
        let patience = PATIENCE + self.shared.idle;
        let waiting = self.places.iter().flatten();
        match waiting.into_iter().find(|client| client.last_progress.elapsed() > patience) {
            None => Ok(()),
            Some(client) => Err(client.wrong("a reply is lost, or an end")),
        }
    }
}

fn begin_to_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    set_tcp_nodelay(&socket, true)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket.into()),
        Err(Errno::ADDRNOTAVAIL) => {
            let message = format!("no port is free for another connection to {address}");
            Err(io::Error::new(ErrorKind::AddrNotAvailable, message))
        }
        Err(error) => Err(error.into()),
    }
}
