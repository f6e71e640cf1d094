//! Raw epoll again, level-triggered, but by way of functions.
//!
//! Some processors forget during a system call where to return to, and a return past one costs as much
//! as half the call. These show what a loop with callbacks, and a loop over the C library, pay for
//! that, whatever else they do.

#![allow(unsafe_code)] // The calls of the C library are.

use std::hint::black_box;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::retry_on_intr;

use super::{CAPACITY, Pipes, Ring, Turns, pass_on};

fn watching(pipes: &Pipes) -> io::Result<OwnedFd> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, reader) in pipes.readers.iter().enumerate() {
        let flags = epoll::EventFlags::IN;
        epoll::add(&epoll, reader, epoll::EventData::new_u64(index as u64), flags)?;
    }
    Ok(epoll)
}

/// The work is in a function that is called by its address, as a callback is.
struct Callback {
    epoll: OwnedFd,
    pipes: Pipes,
    events: Vec<epoll::Event>,
}

pub fn callback(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    let epoll = watching(&pipes)?;
    Ok(Box::new(Callback { epoll, pipes, events: Vec::with_capacity(CAPACITY) }))
}

impl Turns for Callback {
    fn turn(&mut self) -> io::Result<u64> {
        type Work = fn(&Pipes, usize) -> io::Result<()>;
        let work: Work =
            |pipes, index| pass_on(pipes.readers[index].as_fd(), index, &pipes.writers);
        let Self { epoll, pipes, events } = self;
        events.clear();
        retry_on_intr(|| epoll::wait(&*epoll, spare_capacity(events), None))?;
        for event in &*events {
            black_box(work)(pipes, { event.data }.u64() as usize)?;
        }
        Ok(events.len() as u64)
    }
}

/// All three calls by way of the C library, as most programs make them.
struct Libc {
    epoll: OwnedFd,
    pipes: Pipes,
    events: Vec<libc::epoll_event>,
}

pub fn libc(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    let epoll = watching(&pipes)?;
    Ok(Box::new(Libc {
        epoll,
        pipes,
        events: vec![libc::epoll_event { events: 0, u64: 0 }; CAPACITY],
    }))
}

impl Turns for Libc {
    fn turn(&mut self) -> io::Result<u64> {
        let checked = |result: isize| {
            if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as usize) }
        };
        let (events, room) = (self.events.as_mut_ptr(), CAPACITY.try_into().unwrap_or(i32::MAX));
        // SAFETY: the pointer is to that many events.
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events, room, -1) };
        let count = checked(count as isize)?;
        for event in &self.events[..count] {
            let (index, mut byte) = ({ event.u64 } as usize, [0_u8]);
            let next = if index + 1 < self.pipes.writers.len() { index + 1 } else { 0 };
            let (reader, writer) = (&self.pipes.readers[index], &self.pipes.writers[next]);
            // SAFETY: the pointer is to one byte.
            checked(unsafe { libc::read(reader.as_raw_fd(), byte.as_mut_ptr().cast(), 1) })?;
            // SAFETY: the pointer is to one byte.
            checked(unsafe { libc::write(writer.as_raw_fd(), byte.as_ptr().cast(), 1) })?;
        }
        Ok(count as u64)
    }
}
