//! This crate: the selector on each backend, and the event loop.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use polyselect::{Backend, EventLoop, Events, Interest, Next, Selector, SharedSelector, Watch};

use super::{CAPACITY, Pipes, Ring, Turns, pass_on};

/// Ours: the selector owns the readers, and the index is the data of each.
struct Ours {
    selector: Selector<OwnedFd, u64>,
    writers: Rc<[OwnedFd]>,
    events: Events,
}

fn selector(backend: Backend, watch: Watch, pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    let mut selector = Selector::with_backend(backend)?;
    for (index, reader) in pipes.readers.into_iter().enumerate() {
        selector.register(reader, watch, index as u64)?;
    }
    Ok(Box::new(Ours { selector, writers: pipes.writers, events: Events::with_capacity(CAPACITY) }))
}

pub fn epoll(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    selector(Backend::Epoll, Interest::READABLE.into(), pipes)
}

pub fn epoll_edge(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    selector(Backend::Epoll, Interest::READABLE.edge(), pipes)
}

pub fn io_uring(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    selector(Backend::IoUring, Interest::READABLE.into(), pipes)
}

pub fn io_uring_edge(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    selector(Backend::IoUring, Interest::READABLE.edge(), pipes)
}

pub fn mio(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    selector(Backend::Mio, Interest::READABLE.into(), pipes)
}

pub fn poll(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    selector(Backend::Poll, Interest::READABLE.into(), pipes)
}

pub fn select(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    selector(Backend::Select, Interest::READABLE.into(), pipes)
}

impl Turns for Ours {
    fn turn(&mut self) -> io::Result<u64> {
        self.selector.select(&mut self.events, None)?;
        for event in &self.events {
            if let Some(registration) = self.selector.get(event.key)
                && event.is_readable()
            {
                let index = *registration.data() as usize;
                pass_on(registration.source().as_fd(), index, &self.writers)?;
            }
        }
        Ok(self.events.len() as u64)
    }
}

/// The selector that several threads can use, though this one is alone.
struct Shared {
    selector: SharedSelector<OwnedFd, u64>,
    writers: Rc<[OwnedFd]>,
    events: Events,
}

pub fn shared(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    let selector = SharedSelector::with_backend(Backend::Epoll)?;
    for (index, reader) in pipes.readers.into_iter().enumerate() {
        selector.register(reader, Interest::READABLE, index as u64)?;
    }
    let events = Events::with_capacity(CAPACITY);
    Ok(Box::new(Shared { selector, writers: pipes.writers, events }))
}

impl Turns for Shared {
    fn turn(&mut self) -> io::Result<u64> {
        self.selector.select(&mut self.events, None)?;
        for event in &self.events {
            if event.is_readable() {
                let writers = &self.writers;
                let work = |reader: &OwnedFd, index: &mut u64| {
                    pass_on(reader.as_fd(), *index as usize, writers)
                };
                self.selector.with(event.key, work).transpose()?;
            }
        }
        Ok(self.events.len() as u64)
    }
}

/// Callbacks: the writers and the count are the loop's state.
struct State {
    writers: Rc<[OwnedFd]>,
    events: u64,
}

pub fn event_loop(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    callbacks(Interest::READABLE.into(), pipes)
}

pub fn event_loop_edge(pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    callbacks(Interest::READABLE.edge(), pipes)
}

fn callbacks(watch: Watch, pipes: Pipes) -> io::Result<Box<dyn Ring>> {
    let state = State { writers: pipes.writers, events: 0 };
    let mut event_loop = EventLoop::with_backend(Backend::Epoll, state)?;
    for (index, reader) in pipes.readers.into_iter().enumerate() {
        event_loop.register(reader, watch, move |event_loop, reader, _event| {
            pass_on(reader.as_fd(), index, &event_loop.state.writers)?;
            event_loop.state.events += 1;
            Ok(Next::Keep)
        })?;
    }
    Ok(Box::new(event_loop))
}

impl Ring for EventLoop<State> {
    fn run(&mut self, events: u64) -> io::Result<()> {
        self.state.events = 0;
        while self.state.events < events {
            self.turn(None)?;
        }
        Ok(())
    }
}
