//! AFD: the driver of Windows' sockets, whose requests end in a completion port.
//!
//! A request watches one socket and ends when that is in one of the states it asks for, so a wait costs what is
//! active. Surprises:
//!
//! - A completion describes the past. One that was queued before a wait is not reported: the request is submitted
//!   again, and a socket that is still ready completes it immediately.
//! - One socket has one request at a time: two can mix up their states. A pending request cannot be changed, so a
//!   wider interest is a cancellation, and the next request waits for its packet.
//! - The memory of a request belongs to the driver until its packet has come, also after a cancellation.
//! - A cancellation costs what is pending on a handle of the driver: each has 32 sockets.
//! - Requests carry a generation, because the number of a closed socket is used again.
//! - A socket is closed with its last handle. The driver reports that whether it was asked for or not.
//! - Nothing of this is verified with `WSAPoll`, which did not report failed connections before Windows 10 2004.
//! - Old data end a request as new data do, so edge-triggered delivery is not possible.

#[cfg(test)]
mod cost;
mod driver;
mod helpers;
pub(crate) mod port;
mod watched;

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{io, mem};

use slab::Slab;
use windows_sys::Win32::Networking::WinSock::SOCKET;

use super::{AnyPoller, Poller, check_open};
use crate::descriptor::{Descriptor, DescriptorTable};
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;
use driver::{Outcome, Owner, Refusal, Request, base_socket};
use helpers::Helpers;
use port::{Batch, Packet, Port};
use watched::{State, Watched, enqueue, found_bits, mask_of};

pub(super) fn open() -> io::Result<AnyPoller> {
    static WORKS: OnceLock<Result<(), String>> = OnceLock::new();

    let unsupported = |reason| io::Error::new(io::ErrorKind::Unsupported, reason);
    let mut afd = Afd::new().map_err(|error| unsupported(format!("its driver: {error}")))?;
    if WORKS.get().is_none() {
        // Some implementations open the driver and fail later.
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let works = afd.try_out(Descriptor::of(&socket)).map_err(|error| error.to_string());
        let _ = WORKS.set(works);
    }
    match WORKS.get() {
        Some(Err(reason)) => Err(unsupported(format!("its driver fails a trial: {reason}"))),
        _ => Ok(AnyPoller::other(afd)),
    }
}

/// How many milliseconds a trial or a cancellation may take, far more than either does.
const PATIENCE: u32 = 1000;

/// The number of waits of a millisecond after which a change leaves the packet to the next wait.
const REAPS: u32 = 50;

#[derive(Debug)]
struct Afd {
    port: Arc<Port>,
    helpers: Helpers,
    watched: Slab<Watched>,
    slots: DescriptorTable,
    /// Slots whose request is to be submitted; first those whose completion was not reported, so that small batches
    /// do not starve them, then those that were reported last time.
    due: Vec<usize>,
    reported: Vec<usize>,
    /// Requests that belong to the driver, and how many of them were cancelled.
    in_flight: usize,
    cancelled: usize,
    /// How many requests of a socket are in flight whose registration is gone.
    orphans: HashMap<SOCKET, usize>,
    last_generation: u64,
    is_woken: bool,
}

impl Poller for Afd {
    fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        if let Some(slot) = self.slots.get(descriptor) {
            if !old.is_empty() && !new.interest().is_empty() {
                self.change(slot, token, new);
                return Ok(());
            }
            // A removal, or another socket that has the number of a closed one.
            self.remove(slot);
            if let Err(error) = self.reap() {
                log::debug!("afd: a cancelled request is taken by the next wait: {error}");
            }
        }
        if new.interest().is_empty() { Ok(()) } else { self.add(descriptor, token, new) }
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let before = events.len();
        self.collect_stale()?;
        let submitted = self.submit_due(events);
        let is_due = submitted.is_err() || self.is_woken || events.len() > before;
        let timeout = if is_due { Some(Duration::ZERO) } else { timeout };
        let collected = self.collect(events, timeout);
        if mem::take(&mut self.is_woken) {
            events.push(Token::WAKER, bits::IN);
        }
        submitted.and(collected)
    }

    fn port(&mut self) -> Option<Arc<Port>> {
        Some(Arc::clone(&self.port))
    }
}

/// Registering.
impl Afd {
    fn new() -> io::Result<Self> {
        let port = Arc::new(Port::open()?);
        Ok(Self {
            helpers: Helpers::open(&port)?,
            port,
            watched: Slab::new(),
            slots: DescriptorTable::default(),
            due: Vec::new(),
            reported: Vec::new(),
            in_flight: 0,
            cancelled: 0,
            orphans: HashMap::new(),
            last_generation: 0,
            is_woken: false,
        })
    }

    /// Watches a socket that is writable, and fails if that is not reported.
    fn try_out(&mut self, descriptor: Descriptor) -> io::Result<()> {
        let mut events = Events::with_capacity(1);
        self.update(descriptor, Token::INTERNAL, Interest::empty(), Interest::WRITABLE.into())?;
        let end = Duration::from_millis(PATIENCE.into());
        self.wait(&mut events, Some(end))?;
        let has_come = events.iter().any(|event| event.is_writable());
        self.update(
            descriptor,
            Token::INTERNAL,
            Interest::WRITABLE,
            Watch::from(Interest::empty()),
        )?;
        if has_come { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }

    fn add(&mut self, descriptor: Descriptor, token: Token, watch: Watch) -> io::Result<()> {
        check_open(descriptor)?;
        let socket = base_socket(descriptor)?;
        let helper = self.helpers.acquire(&self.port)?;
        self.last_generation += 1;
        let slot = self.watched.insert(Watched {
            descriptor,
            token,
            watch,
            socket,
            helper,
            generation: self.last_generation,
            state: State::Idle(Request::new()),
            is_disarmed: false,
            is_closed: false,
            is_queued: true,
        });
        self.slots.insert(descriptor, slot);
        self.due.push(slot);
        Ok(())
    }

    fn change(&mut self, slot: usize, token: Token, watch: Watch) {
        let watched = &mut self.watched[slot];
        (watched.token, watched.watch, watched.is_disarmed) = (token, watch, false);
        match &mut watched.state {
            State::Pending { ticket, mask, is_cancelled } => {
                // A narrower interest filters the answer of a request that asks for more.
                if mask_of(watch) & !*mask != 0 && !*is_cancelled {
                    self.helpers.get(watched.helper).cancel(ticket);
                    *is_cancelled = true;
                    self.cancelled += 1;
                }
            }
            _ => enqueue(&mut self.due, slot, watched),
        }
    }

    /// Forgets a socket. Its request, if there is one, is an orphan until its packet comes.
    fn remove(&mut self, slot: usize) {
        let watched = self.watched.remove(slot);
        self.slots.remove(watched.descriptor);
        match watched.state {
            State::Pending { ticket, is_cancelled, .. } => {
                if !is_cancelled {
                    self.helpers.get(watched.helper).cancel(&ticket);
                    self.cancelled += 1;
                }
                *self.orphans.entry(watched.socket).or_default() += 1;
            }
            _ => self.helpers.release(watched.helper),
        }
    }
}

/// Waiting.
impl Afd {
    /// Takes the packets that came before this wait. What they report may no longer be true, so their requests are
    /// submitted again.
    fn collect_stale(&mut self) -> io::Result<()> {
        self.is_woken |= self.port.take_noted();
        while self.in_flight > 0 && self.take_queued(Duration::ZERO)? {}
        self.reap()
    }

    /// Waits for the packets of cancelled requests, which mostly come immediately: a socket's next request needs that,
    /// and before it wine does not let the socket go.
    fn reap(&mut self) -> io::Result<()> {
        for _ in 0..REAPS {
            if self.cancelled == 0 {
                break;
            }
            self.take_queued(Duration::from_millis(1))?;
        }
        Ok(())
    }

    /// Takes packets without reporting them; returns whether there may be more.
    fn take_queued(&mut self, timeout: Duration) -> io::Result<bool> {
        let batch = self.port.dequeue(Batch::SIZE, Some(timeout))?;
        let is_full = batch.len() == Batch::SIZE;
        for packet in batch {
            if let Some((slot, outcome)) = self.land(packet) {
                let watched = &mut self.watched[slot];
                // That a socket was closed stays true.
                watched.is_closed |= found_bits(outcome) & bits::NVAL != 0;
                enqueue(&mut self.due, slot, watched);
            }
        }
        Ok(is_full)
    }

    /// Submits the requests that are due. An error is the first one; its request is tried again by the next wait.
    fn submit_due(&mut self, events: &mut Events) -> io::Result<()> {
        let mut result = Ok(());
        let mut slots = mem::take(&mut self.due);
        slots.append(&mut self.reported);
        for slot in slots.drain(..) {
            let Some(watched) = self.watched.get_mut(slot) else { continue };
            if !mem::take(&mut watched.is_queued) || watched.is_disarmed {
                continue;
            }
            if watched.is_closed {
                self.report_closed(slot, events);
                continue;
            }
            if !self.orphans.is_empty() && self.orphans.contains_key(&watched.socket) {
                enqueue(&mut self.due, slot, watched);
                continue;
            }
            let State::Idle(request) = mem::replace(&mut watched.state, State::Moving) else {
                unreachable!("a slot is due when its request has come back")
            };
            let Watched { generation, helper, socket, .. } = *watched;
            let owner = Owner { slot, generation, helper, socket };
            let mask = mask_of(watched.watch);
            match self.helpers.get(helper).submit(request, owner, mask) {
                Ok(ticket) => {
                    watched.state = State::Pending { ticket, mask, is_cancelled: false };
                    self.in_flight += 1;
                }
                Err((refusal, request)) => {
                    watched.state = State::Idle(request);
                    match refusal {
                        Refusal::NotOpen => self.report_closed(slot, events),
                        Refusal::Other(error) => {
                            enqueue(&mut self.due, slot, watched);
                            result = result.and(Err(error));
                        }
                    }
                }
            }
        }
        self.reported = slots;
        result
    }

    fn collect(&mut self, events: &mut Events, mut timeout: Option<Duration>) -> io::Result<()> {
        let mut room = events.room();
        loop {
            let batch = self.port.dequeue(room, timeout)?;
            let count = batch.len();
            for packet in batch {
                if let Some((slot, outcome)) = self.land(packet) {
                    self.report(slot, outcome, events);
                }
            }
            room = room.saturating_sub(count);
            if count < Batch::SIZE || room == 0 {
                return Ok(());
            }
            timeout = Some(Duration::ZERO);
        }
    }

    /// Takes a packet; returns the slot whose request has ended, and how, if it still has one.
    fn land(&mut self, packet: Packet) -> Option<(usize, Outcome)> {
        let request = match packet {
            Packet::Completed(request) => request,
            Packet::Wake => {
                self.is_woken = true;
                return None;
            }
        };
        let Owner { slot, generation, helper, socket } = request.owner();
        self.in_flight -= 1;
        match self.watched.get_mut(slot) {
            Some(watched) if watched.generation == generation => {
                let outcome = request.outcome();
                let state = mem::replace(&mut watched.state, State::Idle(request));
                let was_cancelled = matches!(state, State::Pending { is_cancelled: true, .. });
                self.cancelled -= usize::from(was_cancelled);
                Some((slot, outcome))
            }
            _ => {
                self.cancelled -= 1;
                self.helpers.release(helper);
                if let Some(count) = self.orphans.get_mut(&socket) {
                    *count -= 1;
                    if *count == 0 {
                        self.orphans.remove(&socket);
                    }
                }
                None
            }
        }
    }

    /// Adds an event, if there is one for the registration.
    fn report(&mut self, slot: usize, outcome: Outcome, events: &mut Events) {
        let watched = &mut self.watched[slot];
        let found = found_bits(outcome);
        if found & bits::NVAL != 0 {
            return self.report_closed(slot, events);
        }
        let found = found & (watched.watch.interest().poll_bits() | bits::ERR | bits::HUP);
        if found == 0 {
            enqueue(&mut self.due, slot, watched);
            return;
        }
        events.push(watched.token, found);
        if watched.watch.is_oneshot() {
            watched.is_disarmed = true;
        } else {
            enqueue(&mut self.reported, slot, watched);
        }
    }

    /// Reports that a socket is closed, and forgets it.
    fn report_closed(&mut self, slot: usize, events: &mut Events) {
        events.push(self.watched[slot].token, bits::NVAL);
        events.note_invalid(bits::NVAL);
        self.remove(slot);
    }
}

impl Drop for Afd {
    fn drop(&mut self) {
        let slots: Vec<_> = self.watched.iter().map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.remove(slot));
        for _ in 0..PATIENCE {
            if self.in_flight == 0 {
                return;
            }
            let Ok(batch) = self.port.dequeue(Batch::SIZE, Some(Duration::from_millis(1))) else {
                break;
            };
            for packet in batch {
                self.land(packet);
            }
        }
        // They belong to the driver, and leak.
        log::warn!("afd: {} requests did not come back", self.in_flight);
    }
}
