//! The subjects: one thread waits, and another changes registrations.

#![allow(unsafe_code)] // polling's `add` trusts the caller not to close what is registered.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use mio::unix::SourceFd;
use polyselect::{Backend, Interest, Key, SharedSelector};
use polyselect_benches::{Report, alternate};
use rustix::event::{EventfdFlags, eventfd};

use crate::Args;
use crate::changes::{Change, QUANTITIES, Wait, run};

struct Subject {
    name: &'static str,
    /// Measures a number of changes.
    run: fn(u32) -> io::Result<[f64; 6]>,
    /// The backend that the system may lack.
    needs: Option<Backend>,
}

impl Subject {
    fn is_available(&self) -> bool {
        self.needs.is_none_or(Backend::is_available)
    }
}

const fn ours(
    name: &'static str,
    run: fn(u32) -> io::Result<[f64; 6]>,
    backend: Backend,
) -> Subject {
    Subject { name, run, needs: Some(backend) }
}

/// The first is the reference for the ratios.
const SUBJECTS: &[Subject] = &[
    Subject { name: "polling", run: |changes| run("polling", polling()?, changes), needs: None },
    Subject { name: "mio", run: |changes| run("mio", mio()?, changes), needs: None },
    ours("epoll", |changes| run("epoll", shared(Backend::Epoll)?, changes), Backend::Epoll),
    ours("poll", |changes| run("poll", shared(Backend::Poll)?, changes), Backend::Poll),
    ours("select", |changes| run("select", shared(Backend::Select)?, changes), Backend::Select),
    ours("our-mio", |changes| run("our-mio", shared(Backend::Mio)?, changes), Backend::Mio),
];

pub fn show(args: &Args, report: &mut Report) -> io::Result<()> {
    let chosen = args.common.choose(SUBJECTS, |subject| subject.name);
    // The names may be of another part.
    let chosen = chosen.unwrap_or_else(|_| SUBJECTS.iter().collect());
    let chosen: Vec<_> = chosen.into_iter().filter(|subject| subject.is_available()).collect();
    let mut runs: Vec<_> =
        chosen.iter().map(|subject| move || (subject.run)(args.changes)).collect();
    let results = alternate(args.rounds, &mut runs)?;
    println!("\nregister + unregister, and arm, beside a thread that waits");
    for (index, quantity) in QUANTITIES.iter().enumerate() {
        let rows = chosen.iter().zip(&results);
        let rows = rows.map(|(subject, result)| (subject.name, [result[index]]));
        report.table(&[], &[*quantity], rows)?;
    }
    Ok(())
}

/// The key of the armed source; the source of the pairs has another.
const ARMED: usize = 1;

/// A counter that is never readable, or always.
fn counter(value: u32) -> io::Result<OwnedFd> {
    Ok(eventfd(value, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// This crate's, which owns the sources and looks each event up.
fn shared(backend: Backend) -> io::Result<(Waiting, Changing)> {
    let selector = SharedSelector::with_backend(backend)?;
    let armed = selector.register(counter(1)?, Interest::empty().oneshot(), ARMED)?;
    let waiting =
        Waiting { selector: selector.clone(), events: polyselect::Events::with_capacity(64) };
    let changing = Changing { selector, armed, source: Some(counter(0)?), key: None };
    Ok((waiting, changing))
}

struct Waiting {
    selector: SharedSelector<OwnedFd, usize>,
    events: polyselect::Events,
}

struct Changing {
    selector: SharedSelector<OwnedFd, usize>,
    armed: Key,
    source: Option<OwnedFd>,
    key: Option<Key>,
}

impl Wait for Waiting {
    fn wait(&mut self) -> io::Result<bool> {
        self.selector.select(&mut self.events, None)?;
        let data = |event: polyselect::Event| self.selector.with(event.key, |_, &mut data| data);
        Ok(self.events.iter().any(|event| data(event) == Some(ARMED)))
    }
}

impl Change for Changing {
    fn register(&mut self) -> io::Result<()> {
        let source = self.source.take().ok_or(io::ErrorKind::InvalidInput)?;
        self.key = Some(self.selector.register(source, Interest::READABLE, 0)?);
        Ok(())
    }

    fn unregister(&mut self) -> io::Result<()> {
        let key = self.key.take().ok_or(io::ErrorKind::InvalidInput)?;
        self.source = Some(self.selector.unregister(key)?.into_parts().0);
        Ok(())
    }

    fn arm(&mut self) -> io::Result<()> {
        self.selector.modify(self.armed, Interest::READABLE)
    }

    fn wake(&self) -> io::Result<()> {
        self.selector.waker().wake()
    }
}

struct PollingWait(Arc<polling::Poller>, polling::Events);

struct PollingChange {
    poller: Arc<polling::Poller>,
    armed: OwnedFd,
    source: OwnedFd,
}

fn polling() -> io::Result<(PollingWait, PollingChange)> {
    let poller = Arc::new(polling::Poller::new()?);
    let armed = counter(1)?;
    // SAFETY: it is deleted when the changing side is dropped, before it is closed.
    unsafe { poller.add(&armed, polling::Event::none(ARMED))? };
    let waiting = PollingWait(Arc::clone(&poller), polling::Events::new());
    let changing = PollingChange { poller, armed, source: counter(0)? };
    Ok((waiting, changing))
}

impl Wait for PollingWait {
    fn wait(&mut self) -> io::Result<bool> {
        self.1.clear();
        self.0.wait(&mut self.1, None)?;
        Ok(self.1.iter().any(|event| event.key == ARMED))
    }
}

impl Change for PollingChange {
    fn register(&mut self) -> io::Result<()> {
        let mode = polling::PollMode::Level;
        // SAFETY: the pair deletes it, before it is closed.
        unsafe { self.poller.add_with_mode(&self.source, polling::Event::readable(0), mode) }
    }

    fn unregister(&mut self) -> io::Result<()> {
        self.poller.delete(&self.source)
    }

    fn arm(&mut self) -> io::Result<()> {
        self.poller.modify(&self.armed, polling::Event::readable(ARMED))
    }

    fn wake(&self) -> io::Result<()> {
        self.poller.notify()
    }
}

impl Drop for PollingChange {
    fn drop(&mut self) {
        self.poller.delete(&self.armed).expect("is registered");
    }
}

struct MioWait(mio::Poll, mio::Events);

struct MioChange {
    registry: mio::Registry,
    waker: mio::Waker,
    armed: OwnedFd,
    source: OwnedFd,
}

const WAKER: mio::Token = mio::Token(2);

fn mio() -> io::Result<(MioWait, MioChange)> {
    let poll = mio::Poll::new()?;
    let registry = poll.registry().try_clone()?;
    let (waker, armed) = (mio::Waker::new(&registry, WAKER)?, counter(1)?);
    let interest = mio::Interest::WRITABLE;
    registry.register(&mut SourceFd(&armed.as_raw_fd()), mio::Token(ARMED), interest)?;
    let changing = MioChange { registry, waker, armed, source: counter(0)? };
    let mut waiting = MioWait(poll, mio::Events::with_capacity(64));
    // The first edge is not of interest.
    waiting.wait()?;
    Ok((waiting, changing))
}

impl Wait for MioWait {
    fn wait(&mut self) -> io::Result<bool> {
        self.0.poll(&mut self.1, None)?;
        Ok(self.1.iter().any(|event| event.token() == mio::Token(ARMED)))
    }
}

impl Change for MioChange {
    fn register(&mut self) -> io::Result<()> {
        let number = self.source.as_raw_fd();
        self.registry.register(&mut SourceFd(&number), mio::Token(0), mio::Interest::READABLE)
    }

    fn unregister(&mut self) -> io::Result<()> {
        self.registry.deregister(&mut SourceFd(&self.source.as_raw_fd()))
    }

    /// An edge: a change of the interest reports present readiness.
    fn arm(&mut self) -> io::Result<()> {
        let number = self.armed.as_raw_fd();
        self.registry.reregister(&mut SourceFd(&number), mio::Token(ARMED), mio::Interest::READABLE)
    }

    fn wake(&self) -> io::Result<()> {
        self.waker.wake()
    }
}
