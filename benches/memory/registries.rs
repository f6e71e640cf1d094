//! The registries.

#![allow(unsafe_code)] // polling and tokio trust the caller not to close what is registered.

use std::hint::black_box;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use async_io::Async;
use calloop::generic::Generic;
use calloop::{Mode, PostAction};
use polyselect::{Backend, EventLoop, Interest, Next, Selector};
use rustix::event::epoll;
use slab::Slab;
use tokio::io::unix::AsyncFd;

pub trait Registry {
    fn register(&mut self, source: OwnedFd, data: u64) -> io::Result<()>;
}

pub struct Contestant {
    pub name: &'static str,
    pub open: fn() -> io::Result<Box<dyn Registry>>,
    /// The backend that the system may lack.
    pub needs: Backend,
}

const fn on(
    needs: Backend,
    name: &'static str,
    open: fn() -> io::Result<Box<dyn Registry>>,
) -> Contestant {
    Contestant { name, open, needs }
}

/// The first is the reference for the ratios.
pub const CONTESTANTS: &[Contestant] = &[
    on(Backend::Epoll, "raw", || {
        Ok(Box::new(Raw(epoll::create(epoll::CreateFlags::CLOEXEC)?, Slab::new())))
    }),
    on(Backend::Epoll, "mio", || Ok(Box::new(Mio(mio::Poll::new()?, Slab::new())))),
    on(Backend::Epoll, "polling", || Ok(Box::new(Polling(polling::Poller::new()?, Slab::new())))),
    on(Backend::Epoll, "calloop", || {
        Ok(Box::new(calloop::EventLoop::<u64>::try_new().map_err(io::Error::other)?))
    }),
    on(Backend::Epoll, "tokio", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        Ok(Box::new(Tokio { sources: Slab::new(), runtime }))
    }),
    on(Backend::Epoll, "async-io", || Ok(Box::new(Slab::<(Async<OwnedFd>, u64)>::new()))),
    on(Backend::Epoll, "epoll", || ours(Backend::Epoll)),
    on(Backend::IoUring, "io_uring", || ours(Backend::IoUring)),
    on(Backend::Mio, "our-mio", || ours(Backend::Mio)),
    on(Backend::Poll, "poll", || ours(Backend::Poll)),
    on(Backend::Select, "select", || ours(Backend::Select)),
    on(Backend::Epoll, "event-loop", || {
        Ok(Box::new(Empty(EventLoop::with_backend(Backend::Epoll, 0)?)))
    }),
    on(Backend::Epoll, "event-loop+8", || {
        Ok(Box::new(EightBytes(EventLoop::with_backend(Backend::Epoll, 0)?)))
    }),
];

type Records = Slab<(OwnedFd, u64)>;

struct Raw(OwnedFd, Records);

impl Registry for Raw {
    fn register(&mut self, source: OwnedFd, data: u64) -> io::Result<()> {
        let token = epoll::EventData::new_u64(self.1.vacant_key() as u64);
        epoll::add(&self.0, &source, token, epoll::EventFlags::IN)?;
        self.1.insert((source, data));
        Ok(())
    }
}

struct Mio(mio::Poll, Records);

impl Registry for Mio {
    fn register(&mut self, source: OwnedFd, data: u64) -> io::Result<()> {
        let (number, token) = (source.as_raw_fd(), mio::Token(self.1.vacant_key()));
        let mut borrowed = mio::unix::SourceFd(&number);
        self.0.registry().register(&mut borrowed, token, mio::Interest::READABLE)?;
        self.1.insert((source, data));
        Ok(())
    }
}

struct Polling(polling::Poller, Records);

impl Registry for Polling {
    fn register(&mut self, source: OwnedFd, data: u64) -> io::Result<()> {
        let event = polling::Event::readable(self.1.vacant_key());
        // SAFETY: the records are dropped after the poller, the field before them.
        unsafe { self.0.add_with_mode(&source, event, polling::PollMode::Level)? };
        self.1.insert((source, data));
        Ok(())
    }
}

impl Registry for calloop::EventLoop<'static, u64> {
    fn register(&mut self, source: OwnedFd, data: u64) -> io::Result<()> {
        let source = Generic::new(source, calloop::Interest::READ, Mode::Level);
        let callback = move |_, _: &mut _, sum: &mut u64| {
            *sum += data;
            Ok(PostAction::Continue)
        };
        self.handle().insert_source(source, callback).map_err(|error| error.error)?;
        Ok(())
    }
}

struct Tokio {
    /// Dropped before the runtime that they are registered with.
    sources: Slab<(AsyncFd<OwnedFd>, u64)>,
    runtime: tokio::runtime::Runtime,
}

impl Registry for Tokio {
    fn register(&mut self, source: OwnedFd, data: u64) -> io::Result<()> {
        let _inside = self.runtime.enter();
        let interest = tokio::io::Interest::READABLE;
        // SAFETY: the descriptor is open, and is the object's own from here on.
        let source = unsafe { AsyncFd::register_with_interest(source, interest)? };
        self.sources.insert((source, data));
        Ok(())
    }
}

impl Registry for Slab<(Async<OwnedFd>, u64)> {
    fn register(&mut self, source: OwnedFd, data: u64) -> io::Result<()> {
        self.insert((Async::new_nonblocking(source)?, data));
        Ok(())
    }
}

fn ours(backend: Backend) -> io::Result<Box<dyn Registry>> {
    Ok(Box::new(Selector::<OwnedFd, u64>::with_backend(backend)?))
}

impl Registry for Selector<OwnedFd, u64> {
    fn register(&mut self, source: OwnedFd, data: u64) -> io::Result<()> {
        Selector::register(self, source, Interest::READABLE, data)?;
        Ok(())
    }
}

struct Empty(EventLoop<u64>);

impl Registry for Empty {
    fn register(&mut self, source: OwnedFd, data: u64) -> io::Result<()> {
        black_box(data);
        self.0.register(source, Interest::READABLE, |_, _, _| Ok(Next::Keep))?;
        Ok(())
    }
}

struct EightBytes(EventLoop<u64>);

impl Registry for EightBytes {
    fn register(&mut self, source: OwnedFd, data: u64) -> io::Result<()> {
        self.0.register(source, Interest::READABLE, move |event_loop, _, _| {
            event_loop.state += data;
            Ok(Next::Keep)
        })?;
        Ok(())
    }
}
