//! Python's `selectors` for Rust: one [`Selector`] over every way the system has to wait for
//! readiness, meaning the same on each; and an [`EventLoop`] of callbacks on top.
//!
//! # In short
//!
//! A **source** (a socket, a pipe, a terminal) is *ready* when an operation on it would not block. A
//! [`Selector`] waits for many sources at once: it is told what to watch with
//! [`register`](Selector::register), and [`select`](Selector::select) sleeps until one of them is
//! ready. With each source goes **data** of the program's choice, and a [`Key`] names the two.
//!
//! ```
//! use polyselect::{Events, Interest, Selector};
//! use std::{io::{Read, Write}, net::{TcpListener, TcpStream}};
//!
//! let listener = TcpListener::bind(("127.0.0.1", 0))?;
//! let mut client = TcpStream::connect(listener.local_addr()?)?;
//! let (connection, _) = listener.accept()?;
//! connection.set_nonblocking(true)?;
//!
//! let mut selector = Selector::new()?;
//! selector.register(connection, Interest::READABLE, "the first client")?;
//! client.write_all(b"hello")?;
//!
//! let mut events = Events::with_capacity(1024);
//! selector.select(&mut events, None)?;
//! for event in &events {
//!     let Some(registration) = selector.get(event.key) else { continue };
//!     let mut text = [0; 64];
//!     let n = registration.source().read(&mut text)?;
//!     assert_eq!((*registration.data(), &text[..n]), ("the first client", &b"hello"[..]));
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | registering, waiting, taking back | [`Selector`] |
//! | what to ask for, and level, edge, one-shot | [`Interest`], [`Watch`] |
//! | what is reported | [`Event`], [`Ready`] |
//! | writing without blocking | [`WriteQueue`] |
//! | ending a wait from another thread | [`Waker`] |
//! | callbacks, timers, signals, children, other threads' calls | [`EventLoop`] |
//! | `async` code on the same loop (feature `async`) | the module `asyncio` |
//! | choosing the mechanism | [`Backend`] |
//! | from the first callback to what a server needs | [`_docs::guide`] |
//! | how each mechanism works, and where it surprises | [`_docs::backends`] |
//! | why things are as they are | [`_docs::design`] |
//! | what it survives, and which test shows it | [`_docs::reliability`] |
//!
//! # What is promised
//!
//! - Safe code cannot close a registered descriptor, and no event reaches the wrong registration.
//! - The same program means the same on every mechanism, but for what [`Abilities`] lists.
//! - A timeout is never cut short, and a wake is never lost.

#![warn(unreachable_pub)]

/// For what the tests of the crate and those inside it share.
#[cfg(all(test, io_uring))]
extern crate self as polyselect;

#[cfg(feature = "async")]
pub mod asyncio;
mod backend;
mod descriptor;
mod error;
mod event;
mod event_loop;
mod fork;
mod interest;
mod key;
mod raw_event;
mod registration;
mod selector;
pub mod signal;
mod waker;
mod write_queue;

pub use backend::{Abilities, Backend, ParseBackendError};
pub use error::RegisterError;
pub use event::{Event, Events, EventsIter, Ready};
#[cfg(unix)]
pub use event_loop::ChildKey;
pub use event_loop::{EventLoop, Listener, Next, Remote, SignalKey, Sources, Stats, TimerKey};
pub use interest::{Interest, Watch};
pub use key::Key;
pub use registration::{Registration, RegistrationMut};
pub use selector::{Drain, Iter, IterMut, Selector};
pub use waker::Waker;
pub use write_queue::WriteQueue;

/// Pages that belong to no item.
///
/// They are the files in `docs/`. Before each stands what makes their links and pictures work here.
pub mod _docs {
    #[doc = include_str!("../docs/rustdoc_links.md")]
    #[doc = include_str!("../docs/backends.md")]
    pub mod backends {}
    #[doc = include_str!("../docs/rustdoc_links.md")]
    #[doc = include_str!("../docs/design.md")]
    pub mod design {}
    #[doc = include_str!("../docs/rustdoc_links.md")]
    #[doc = include_str!("../docs/guide.md")]
    pub mod guide {}
    #[doc = include_str!("../docs/rustdoc_links.md")]
    #[doc = include_str!("../docs/many_clients.md")]
    pub mod many_clients {}
    #[doc = include_str!("../docs/rustdoc_links.md")]
    #[doc = include_str!("../docs/moving.md")]
    pub mod moving {}
    #[doc = include_str!("../docs/rustdoc_links.md")]
    #[doc = include_str!("../docs/performance.md")]
    pub mod performance {}
    #[doc = include_str!("../docs/rustdoc_links.md")]
    #[doc = include_str!("../docs/reliability.md")]
    pub mod reliability {}
    #[doc = include_str!("../docs/rustdoc_links.md")]
    #[doc = include_str!("../docs/unsafe.md")]
    pub mod unsafe_blocks {}
}

/// The README's programs compile; one of them needs the feature.
#[cfg(all(doctest, feature = "async"))]
#[doc = include_str!("../README.md")]
struct Readme;
