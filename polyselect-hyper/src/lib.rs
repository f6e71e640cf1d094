//! [hyper] on [polyselect]'s event loop: HTTP/1 and HTTP/2 on one thread, beside callbacks and other
//! tasks, without another runtime.
//!
//! | hyper asks for | here |
//! |---|---|
//! | [`hyper::rt::Read`] and [`hyper::rt::Write`] | [`LoopIo`], around an [`Async`](polyselect::asyncio::Async) |
//! | [`hyper::rt::Executor`], for HTTP/2 | [`LoopExecutor`] |
//! | [`hyper::rt::Timer`], for timeouts and keep-alive | [`LoopTimer`] |
//!
//! A server:
//!
//! ```
//! use http_body_util::Full;
//! use hyper::{Request, Response, body::{Bytes, Incoming}, server::conn::http1, service::service_fn};
//! use polyselect::{EventLoop, asyncio};
//! use polyselect_hyper::{LoopIo, LoopTimer};
//! use std::{convert::Infallible, io};
//!
//! async fn hello(_request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     Ok(Response::new("hello\n".into()))
//! }
//!
//! EventLoop::new(())?.block_on(async {
//!     let server = asyncio::start_server(([127, 0, 0, 1], 0), |stream| async {
//!         http1::Builder::new()
//!             .timer(LoopTimer::new())
//!             .serve_connection(LoopIo::new(stream), service_fn(hello))
//!             .await
//!             .map_err(io::Error::other)
//!     })?;
//!     # if true {
//!     # let client = asyncio::Async::connect(server.local_addr().unwrap()).await?;
//!     # client.write_all(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").await?;
//!     # let mut reply = Vec::new();
//!     # while client.read_buf(&mut reply).await? > 0 {}
//!     # assert!(reply.ends_with(b"\r\n\r\nhello\n"), "{}", String::from_utf8_lossy(&reply));
//!     # return Ok(());
//!     # }
//!     server.serve_forever().await
//! })??;
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # What needs `Send`
//!
//! Tasks of an event loop stay on its thread: a [`LoopIo`] is not `Send`, and a future that holds one is not either.
//! hyper itself does not mind. Its connections, `hyper::server::conn` and `hyper::client::conn`, run here with HTTP/1
//! and HTTP/2, services may hold an `Rc`, and so do hyper-util's `server::conn::auto` and axum's routers.
//!
//! A client that keeps its connections in a pool for several threads asks for `Send` streams, and so cannot run here:
//! hyper-util's `client::legacy::Client`, and with it reqwest. Keep connections of `hyper::client::conn`
//! instead, or take a reactor whose sources are `Send`: the example `thread_reactor` of polyselect is one, on a
//! `SharedSelector`, with that client.

#![deny(unsafe_code)]
#![warn(unreachable_pub)]

mod executor;
mod io;
mod timer;

pub use executor::LoopExecutor;
pub use io::LoopIo;
pub use timer::LoopTimer;

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
