//! The contestants: a wait, and a wake from another thread that ends it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use calloop::ping::make_ping;
use polyselect::{Backend, EventLoop, Events, Selector};
use rustix::event::{EventfdFlags, epoll, eventfd};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

pub trait Sleeper {
    /// Waits for a wake, and resets it.
    fn sleep(&mut self) -> io::Result<()>;
}

pub type Wake = Box<dyn Fn() -> io::Result<()> + Send>;

type Pair = (Box<dyn Sleeper>, Wake);

pub struct Contestant {
    pub name: &'static str,
    pub open: fn() -> io::Result<Pair>,
    /// The backend that the system may lack.
    pub needs: Backend,
}

const fn on(needs: Backend, name: &'static str, open: fn() -> io::Result<Pair>) -> Contestant {
    Contestant { name, open, needs }
}

/// The first is the reference for the ratios.
pub const CONTESTANTS: &[Contestant] = &[
    on(Backend::Epoll, "raw", raw),
    on(Backend::Epoll, "mio", mio),
    on(Backend::Epoll, "polling", polling),
    on(Backend::Epoll, "calloop", calloop),
    on(Backend::Epoll, "tokio", tokio),
    on(Backend::Epoll, "epoll", || waker(Backend::Epoll)),
    on(Backend::IoUring, "io_uring", || waker(Backend::IoUring)),
    on(Backend::Mio, "our-mio", || waker(Backend::Mio)),
    on(Backend::Poll, "poll", || waker(Backend::Poll)),
    on(Backend::Select, "select", || waker(Backend::Select)),
    on(Backend::Epoll, "event-loop", event_loop),
];

struct Raw {
    epoll: OwnedFd,
    counter: Arc<OwnedFd>,
    events: Vec<epoll::Event>,
}

/// An eventfd, level-triggered: a write to wake, a wait and a read to reset it.
fn raw() -> io::Result<Pair> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let counter = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    epoll::add(&epoll, &*counter, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    let sleeper = Raw { epoll, counter: Arc::clone(&counter), events: Vec::with_capacity(8) };
    let wake = move || Ok(rustix::io::write(&*counter, &1_u64.to_ne_bytes()).map(drop)?);
    Ok((Box::new(sleeper), Box::new(wake)))
}

impl Sleeper for Raw {
    fn sleep(&mut self) -> io::Result<()> {
        self.events.clear();
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), None)?;
        rustix::io::read(&*self.counter, &mut [0; 8])?;
        Ok(())
    }
}

struct Mio(mio::Poll, mio::Events);

/// An eventfd too, but edge-triggered and not read: an event with a token.
fn mio() -> io::Result<Pair> {
    let poll = mio::Poll::new()?;
    let waker = mio::Waker::new(poll.registry(), mio::Token(0))?;
    let sleeper = Mio(poll, mio::Events::with_capacity(8));
    Ok((Box::new(sleeper), Box::new(move || waker.wake())))
}

impl Sleeper for Mio {
    fn sleep(&mut self) -> io::Result<()> {
        self.0.poll(&mut self.1, None)
    }
}

struct Polling(Arc<polling::Poller>, polling::Events);

/// `Poller::notify`, which writes only if no wake is pending.
fn polling() -> io::Result<Pair> {
    let poller = Arc::new(polling::Poller::new()?);
    let sleeper = Polling(Arc::clone(&poller), polling::Events::new());
    Ok((Box::new(sleeper), Box::new(move || poller.notify())))
}

impl Sleeper for Polling {
    fn sleep(&mut self) -> io::Result<()> {
        self.1.clear();
        self.0.wait(&mut self.1, None).map(drop)
    }
}

struct Calloop {
    event_loop: calloop::EventLoop<'static, bool>,
}

/// A ping, which is a source with a callback that records it.
fn calloop() -> io::Result<Pair> {
    let event_loop = calloop::EventLoop::try_new().map_err(io::Error::other)?;
    let (ping, source) = make_ping()?;
    let handle = event_loop.handle();
    handle.insert_source(source, |(), &mut (), woken| *woken = true).map_err(io::Error::other)?;
    let wake = move || {
        ping.ping();
        Ok(())
    };
    Ok((Box::new(Calloop { event_loop }), Box::new(wake)))
}

impl Sleeper for Calloop {
    fn sleep(&mut self) -> io::Result<()> {
        let mut woken = false;
        while !woken {
            self.event_loop.dispatch(None, &mut woken).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

struct Tokio(Runtime, Arc<Notify>);

/// A `Notify` that a `current_thread` runtime blocks on in each wait; the runtime waits in its epoll, and the
/// notification ends that wait as mio's waker does.
fn tokio() -> io::Result<Pair> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let notify = Arc::new(Notify::new());
    let sleeper = Tokio(runtime, Arc::clone(&notify));
    let wake = move || {
        notify.notify_one();
        Ok(())
    };
    Ok((Box::new(sleeper), Box::new(wake)))
}

impl Sleeper for Tokio {
    fn sleep(&mut self) -> io::Result<()> {
        self.0.block_on(self.1.notified());
        Ok(())
    }
}

struct Ours(Selector<OwnedFd>, Events);

/// This crate's `Waker`: no event, and a write only if no wake is pending.
fn waker(backend: Backend) -> io::Result<Pair> {
    let mut selector = Selector::with_backend(backend)?;
    let waker = selector.waker()?;
    let sleeper = Ours(selector, Events::with_capacity(8));
    Ok((Box::new(sleeper), Box::new(move || waker.wake())))
}

impl Sleeper for Ours {
    fn sleep(&mut self) -> io::Result<()> {
        self.0.select(&mut self.1, None).map(drop)
    }
}

/// This crate's `Remote::call`: a closure that is queued, boxed, and run by the loop.
fn event_loop() -> io::Result<Pair> {
    let mut event_loop = EventLoop::with_backend(Backend::Epoll, false)?;
    let remote = event_loop.remote()?;
    let wake = move || remote.call(|event_loop| event_loop.state = true);
    Ok((Box::new(event_loop), Box::new(wake)))
}

impl Sleeper for EventLoop<bool> {
    fn sleep(&mut self) -> io::Result<()> {
        self.state = false;
        while !self.state {
            self.turn(None)?;
        }
        Ok(())
    }
}
