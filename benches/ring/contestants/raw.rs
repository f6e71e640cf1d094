//! The reference for the others: raw system calls, and the work without any wait.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use polyselect_benches::{Completed, PollRing};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::retry_on_intr;

use super::{CAPACITY, Pipes, Ring, Turns, pass_on};

/// epoll as a C program would use it: the data of an event is the index into the readers.
struct Raw {
    epoll: OwnedFd,
    pipes: Pipes,
    events: Vec<epoll::Event>,
}

pub fn epoll<const EDGE: bool>(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut flags = epoll::EventFlags::IN;
    flags.set(epoll::EventFlags::ET, EDGE);
    for (index, reader) in pipes.readers.iter().enumerate() {
        epoll::add(&epoll, reader, epoll::EventData::new_u64(index as u64), flags)?;
    }
    Ok(Box::new(Raw { epoll, pipes, events: Vec::with_capacity(CAPACITY) }))
}

impl Turns for Raw {
    fn turn(&mut self) -> io::Result<u64> {
        self.events.clear();
        retry_on_intr(|| epoll::wait(&self.epoll, spare_capacity(&mut self.events), None))?;
        for event in &self.events {
            let index = { event.data }.u64() as usize;
            pass_on(self.pipes.readers[index].as_fd(), index, &self.pipes.writers)?;
        }
        Ok(self.events.len() as u64)
    }
}

/// io_uring, only for waiting; reads and writes are the same system calls as the others'. The next wait re-arms
/// one-shot polls after each event; multishot polls stay, edge-triggered.
struct Uring<const MULTI: bool> {
    ring: PollRing,
    pipes: Pipes,
    completed: Vec<Completed>,
}

pub fn uring<const MULTI: bool>(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    let ring = PollRing::new(pipes.readers.len() as u32)?;
    let mut uring = Uring::<MULTI> { ring, pipes, completed: Vec::with_capacity(CAPACITY) };
    for index in 0..uring.pipes.readers.len() {
        uring.arm(index)?;
    }
    Ok(Box::new(uring))
}

impl<const MULTI: bool> Uring<MULTI> {
    fn arm(&mut self, index: usize) -> io::Result<()> {
        let (reader, data) = (&self.pipes.readers[index], index as u64);
        match MULTI {
            true => self.ring.arm_multi(reader, PollFlags::IN, data),
            false => self.ring.arm(reader, PollFlags::IN, data),
        }
    }
}

impl<const MULTI: bool> Turns for Uring<MULTI> {
    fn turn(&mut self) -> io::Result<u64> {
        self.completed.clear();
        self.ring.wait(&mut self.completed)?;
        for place in 0..self.completed.len() {
            let Completed { data, stays } = self.completed[place];
            let index = data as usize;
            pass_on(self.pipes.readers[index].as_fd(), index, &self.pipes.writers)?;
            if !stays {
                self.arm(index)?;
            }
        }
        Ok(self.completed.len() as u64)
    }
}

/// The reading and writing alone: it knows where the bytes are without waiting.
struct Bare {
    pipes: Pipes,
    active: Vec<usize>,
}

pub fn bare(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    let mut entries: Vec<_> =
        pipes.readers.iter().map(|reader| PollFd::new(reader, PollFlags::IN)).collect();
    poll(&mut entries, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    let ready = |index: &usize| !entries[*index].revents().is_empty();
    let active = (0..pipes.readers.len()).filter(ready).collect();
    Ok(Box::new(Bare { pipes, active }))
}

impl Turns for Bare {
    fn turn(&mut self) -> io::Result<u64> {
        let Pipes { readers, writers } = &self.pipes;
        for index in &mut self.active {
            pass_on(readers[*index].as_fd(), *index, writers)?;
            *index = if *index + 1 < writers.len() { *index + 1 } else { 0 };
        }
        Ok(self.active.len() as u64)
    }
}
