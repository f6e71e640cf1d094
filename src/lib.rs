//! Python's `selectors` for Rust: a [`Selector`] that behaves the same on epoll, kqueue, io_uring, AFD, mio, poll
//! and select, and an [`EventLoop`] for callbacks, timers, signals, child processes and tasks on top.
//!
//! # What is readiness?
//!
//! A read from a socket blocks until data arrives, and the thread does nothing else meanwhile. A program with many
//! **sources** (sockets, pipes, terminals) waits for all of them in one system call, which returns those that are
//! *ready*: an operation on them would not block.
//!
//! ![The layers: your program, tasks, event loop, selector, backends, the kernel][layers.svg]
//!
//! # Waiting for many sources: `Selector`
//!
//! [`register`](Selector::register) moves a source into a [`Selector`], with **data** of the program's
//! choice, and returns the [`Key`] of the registration. [`select`](Selector::select) waits until a source is
//! ready and fills [`Events`]. Each [`Event`] has the key, with which [`get`](Selector::get) borrows the
//! [`Registration`], and its readiness, [`Ready`].
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
//! - **An [`Interest`]** selects the events; [`modify`](Selector::modify) and [`set_watch`](Selector::set_watch)
//!   change it. Delivery is level-triggered: an event is repeated in every wait while the source is ready.
//!   [`edge`](Interest::edge), [`oneshot`](Interest::oneshot) and [`exclusive`](Interest::exclusive) turn an
//!   interest into a [`Watch`] with another mode.
//! - **The selector owns the source.** An `Rc<TcpStream>` shares it, a `&TcpStream` borrows it.
//!   [`unregister`](Selector::unregister) returns it, and so does the [`RegisterError`] of a failed
//!   registration. [`get_mut`](Selector::get_mut) borrows a [`RegistrationMut`], in which the data can be
//!   changed and the source cannot.
//! - **All registrations**: [`iter`](Selector::iter), [`iter_mut`](Selector::iter_mut),
//!   [`retain`](Selector::retain), [`drain`](Selector::drain), [`key_of`](Selector::key_of) and
//!   [`get_disjoint_mut`](Selector::get_disjoint_mut).
//! - **Connections** are accepted in batches by an [`Acceptor`](accept::Acceptor), which also pauses a
//!   listener when descriptors run out.
//! - **Output that a full socket does not take** is queued in a [`WriteQueue`].
//! - **Another thread** ends the wait with a [`Waker`]; a wake is never lost.
#![cfg_attr(
    unix,
    doc = "- **A selector in a selector**, or in another loop: [`descriptor`](Selector::descriptor)."
)]
//! - **After a fork**, the child calls [`rebuild`](Selector::rebuild).
//!
//! # Callbacks: `EventLoop`
//!
//! An [`EventLoop`] keeps a callback with each source. The callback gets the loop, its source and the event, and
//! returns [`Next`]. Sources may be of any type. State that callbacks share is the loop's
//! [`state`](EventLoop#structfield.state).
//!
//! ```
//! use polyselect::{EventLoop, Interest, Next};
//! use std::{io::{Read, Write}, net::{TcpListener, TcpStream}};
//!
//! let listener = TcpListener::bind(("127.0.0.1", 0))?;
//! let mut client = TcpStream::connect(listener.local_addr()?)?;
//! client.write_all(b"hello")?;
//!
//! let mut event_loop = EventLoop::new(String::new())?; // the state
//! event_loop.accept(listener, |event_loop, connection, _address| {
//!     event_loop.register(connection, Interest::READABLE, |event_loop, mut connection, _event| {
//!         let mut text = [0; 64];
//!         let n = connection.read(&mut text)?;
//!         event_loop.state.push_str(&String::from_utf8_lossy(&text[..n]));
//!         event_loop.stop();
//!         Ok(Next::Remove)
//!     })?;
//!     Ok(())
//! })?;
//! event_loop.run()?;
//! assert_eq!(event_loop.state, "hello");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! | for | see |
//! |---|---|
//! | connections, accepted with a budget | [`EventLoop::accept`], [`Listener`] |
//! | time | [`call_later`](EventLoop::call_later), [`call_at`](EventLoop::call_at), [`call_every`](EventLoop::call_every), [`TimerKey`] |
//! | the next iteration | [`call_soon`](EventLoop::call_soon) |
//! | code on the same thread that has no reference to the loop | [`EventLoop::local`], [`Local`] |
//! | other threads | [`EventLoop::remote`], [`Remote`] |
//! | signals | [`on_signal`](EventLoop::on_signal), [`SignalKey`], [`signal`] |
//! | child processes | [`watch_child`](EventLoop::watch_child), [`ChildKey`], [`ChildMut`] |
//! | errors of callbacks | [`on_error`](EventLoop::on_error) |
//! | sources by themselves, or beside the state | [`sources`](EventLoop::sources), [`parts`](EventLoop::parts), [`Sources`] |
//! | settings | [`EventLoop::builder`], [`EventLoopBuilder`] |
//! | slow callbacks, and counters | [`set_slow_callback_threshold`](EventLoop::set_slow_callback_threshold), [`Stats`] |
#![cfg_attr(
    unix,
    doc = "| a loop inside another | [`descriptor`](EventLoop::descriptor), [`next_deadline`](EventLoop::next_deadline) |"
)]
//! | in which order all of this happens | [the order of an iteration](EventLoop#the-order-of-an-iteration) |
//!
//! # Tasks: `asyncio`
//!
//! With the cargo feature `async`, `async` code runs on the same loop and thread, beside callbacks.
#![cfg_attr(
    feature = "async",
    doc = "
[`EventLoop::spawn`] spawns a task, [`EventLoop::block_on`] runs the loop until a future is ready; the
module [`asyncio`] has the rest, with the names of Python's:

| for | see |
|---|---|
| reading, writing, accepting, connecting, datagrams | [`Async`](asyncio::Async), [`Incoming`](asyncio::Incoming) |
| lines, queues and back-pressure | [`StreamReader`](asyncio::StreamReader), [`StreamWriter`](asyncio::StreamWriter) |
| a server with a graceful end | [`start_server`](asyncio::start_server), [`serve`](asyncio::serve), [`Server`](asyncio::Server) |
| connections by a host's name | [`open_connection`](asyncio::open_connection), [`getaddrinfo`](asyncio::getaddrinfo) |
| time | [`sleep`](asyncio::sleep), [`sleep_until`](asyncio::sleep_until), [`interval`](asyncio::interval), [`timeout`](asyncio::timeout()), [`yield_now`](asyncio::yield_now) |
| other tasks | [`spawn`](asyncio::spawn), [`JoinHandle`](asyncio::JoinHandle), [`gather`](asyncio::gather), [`TaskGroup`](asyncio::TaskGroup), [`shield`](asyncio::shield) |
| threads, signals | [`to_thread`](asyncio::to_thread), [`signal`](asyncio::signal()) |
"
)]
//!
//! # The backend
//!
//! [`Selector::new`] opens the best [`Backend`] that the system has, or the one that the environment
//! variable `POLYSELECT_BACKEND` names. [`with_backend`](Selector::with_backend) opens a given one, and
//! [`rebuild_with`](Selector::rebuild_with) changes it and keeps all registrations.
//! Backends differ in their [`Capabilities`]. [`set_busy_poll`](Selector::set_busy_poll) trades processor time
//! for latency.
//!
//! | cargo feature | default | brings |
//! |---|---|---|
//! | `io-uring` | yes | the backend of that name, on Linux |
//! | `mio` | yes | the backend of that name, on Unix |
//! | `async` | no | tasks: the module `asyncio` |
//! | `testing` | no | virtual time, seeded disorder and injected faults: the module `testing` |
//!
//! # Pages
//!
//! | page | for |
//! |---|---|
//! | [guide](_docs::guide) | tasks of a program, each with its code, and the traps |
//! | [tasks](_docs::coroutines) | tasks or callbacks, and how to combine them |
//! | [10,000 clients](_docs::many_clients) | limits, admission, back-pressure, threads |
//! | [testing](_docs::testing) | virtual time, disorder and faults in your tests |
//! | [works with](_docs::works_with) | tested crates, each with its test |
//! | [moving over](_docs::moving) | from Python's `selectors`, mio, polling, calloop and tokio |
//! | [backends](_docs::backends) | how each works, and its surprises |
//! | [design questions](_docs::design) | the reasons behind the interface |
//! | [performance](_docs::performance) | what was measured, and how |
//! | [what a loop must survive](_docs::reliability) | each fault, and the test that shows it |
//! | [`unsafe`](_docs::unsafe_blocks) | every block, and why it is sound |
//!
//! # What is promised
//!
//! - Safe code cannot close a registered descriptor, and no event reaches the wrong registration.
//! - A program behaves the same on every backend, except for the differences that [`Capabilities`] lists.
//! - A timeout is never cut short, and a wake is never lost.
#![doc = ""]
#![doc = include_str!("../docs/rustdoc_links.md")]
// docs.rs shows the system and the feature that each item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(unreachable_pub)]

/// For code that unit tests share with the tests in `tests/`.
#[cfg(all(test, io_uring))]
extern crate self as polyselect;

pub mod accept;
#[cfg(feature = "async")]
pub mod asyncio;
mod backend;
mod bits;
mod child;
mod clock;
mod descriptor;
mod error;
mod event;
mod event_loop;
/// The kernel that the backend for event ports runs on in this project's own tests on Linux.
#[cfg(event_port_sim)]
#[path = "../tests/event_port_sim/mod.rs"]
mod event_port_sim;
mod fork;
mod interest;
mod key;
/// The kernel that the kqueue backend runs on in this project's own tests on Linux.
#[cfg(kqueue_sim)]
#[path = "../tests/kqueue_sim/mod.rs"]
mod kqueue_sim;
mod raw_event;
mod ready;
mod registration;
pub mod selector;
mod shared;
pub mod signal;
mod source;
#[cfg(feature = "testing")]
pub mod testing;
mod this_thread;
mod timer;
mod waker;
mod write_queue;

pub use accept::Listener;
pub use backend::{Backend, Capabilities, ParseBackendError};
pub use error::{ForkedError, RegisterError};
pub use event::{Event, Events};
#[cfg(feature = "async")]
pub use event_loop::TaskInfo;
pub use event_loop::{ChildKey, ChildMut};
pub use event_loop::{
    EventLoop, EventLoopBuilder, Local, Next, Remote, SignalKey, Sources, Stats, Turn,
};
pub use interest::{Interest, Watch};
pub use key::Key;
pub use ready::Ready;
pub use registration::{Registration, RegistrationMut};
pub use selector::Selector;
pub use shared::SharedSelector;
pub use source::Source;
#[cfg(unix)]
pub use source::nonblocking;
pub use timer::TimerKey;
pub use waker::Waker;
pub use write_queue::WriteQueue;

/// Pages that belong to no item.
///
/// They are the files in `docs/`. The included `rustdoc_links.md` resolves their links and pictures here.
pub mod _docs {
    #[doc = include_str!("../docs/rustdoc_links.md")]
    #[doc = include_str!("../docs/backends.md")]
    pub mod backends {}
    #[doc = include_str!("../docs/rustdoc_links.md")]
    #[doc = include_str!("../docs/coroutines.md")]
    pub mod coroutines {}
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
    /// With the feature `testing` this page is here.
    #[cfg(not(feature = "testing"))]
    pub mod testing {}
    #[doc = include_str!("../docs/rustdoc_links.md")]
    #[doc = include_str!("../docs/testing.md")]
    #[cfg(feature = "testing")]
    pub mod testing {}
    #[doc = include_str!("../docs/rustdoc_links.md")]
    #[doc = include_str!("../docs/unsafe.md")]
    pub mod unsafe_blocks {}
    #[doc = include_str!("../docs/rustdoc_links.md")]
    #[doc = include_str!("../docs/works_with.md")]
    pub mod works_with {}
}

/// The README's programs are doctests; one of them needs the feature `async`.
#[cfg(all(doctest, feature = "async"))]
#[doc = include_str!("../README.md")]
struct Readme;
