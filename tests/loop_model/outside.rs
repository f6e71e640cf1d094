//! Work outside the loop: threads of the pool and names. Each delivers the result of its
//! work, and abandoned work leaves nothing behind.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use polyselect::asyncio;

use super::world::{World, panic_as_planned};

/// The work of a thread of the pool.
#[derive(Clone, Copy, Debug)]
pub enum Blocking {
    Return(usize),
    Panic,
    /// The task is cancelled while the work may be running.
    Abandon,
}

/// The course of a child process.
#[cfg_attr(windows, allow(dead_code))]
#[derive(Clone, Copy, Debug)]
pub enum Course {
    Exit(u8),
    /// Writes back the same number of bytes.
    Copy(usize),
    Kill,
    KillOnDrop,
    /// It is left to its end.
    Leave,
}

#[derive(Clone, Copy, Debug)]
pub enum Name {
    Address,
    Localhost,
    Invalid,
}

/// The processes of a program; `asyncio::Process` is not part of the model on Windows.
#[cfg(windows)]
#[derive(Default)]
pub struct Processes(());

#[allow(clippy::unused_self)]
#[cfg(windows)]
impl Processes {
    pub fn have_started(&self) -> bool {
        false
    }

    pub fn are_left(&self) -> bool {
        false
    }
}

impl World {
    pub async fn work_in_thread(self: &Rc<Self>, work: Blocking) {
        let share = Arc::clone(&self.of_threads);
        let mut work_in_thread = pin!(asyncio::to_thread(move || {
            let _share = share;
            match work {
                Blocking::Return(value) => value,
                Blocking::Panic => panic_as_planned(),
                Blocking::Abandon => 0,
            }
        }));
        if let Blocking::Abandon = work {
            poll_fn(|context| Poll::Ready(work_in_thread.as_mut().poll(context).is_ready())).await;
            return self.act_in_task();
        }
        let result = work_in_thread.await;
        let is_right = match (work, &result) {
            (Blocking::Return(value), Ok(result)) => *result == value,
            (Blocking::Panic, Err(error)) => error.is_panic(),
            _ => false,
        };
        self.check(is_right, || format!("a thread with {work:?} returns {result:?}"));
        self.act_in_task();
    }

    #[cfg(windows)]
    pub async fn run_process(self: &Rc<Self>, _: Course) {}

    pub async fn look_up(self: &Rc<Self>, name: Name) {
        let host = match name {
            Name::Address => "127.0.0.1",
            Name::Localhost => "localhost",
            Name::Invalid => "a\0b",
        };
        let result = asyncio::getaddrinfo(host, 80).await;
        let is_right = match (name, &result) {
            (Name::Address, Ok(addresses)) => {
                *addresses == [SocketAddr::from((Ipv4Addr::LOCALHOST, 80))]
            }
            (Name::Localhost, Ok(addresses)) => {
                let is_local = |it: &SocketAddr| it.ip().is_loopback() && it.port() == 80;
                !addresses.is_empty() && addresses.iter().all(is_local)
            }
            (Name::Invalid, Err(error)) => error.kind() == ErrorKind::InvalidInput,
            _ => false,
        };
        self.check(is_right, || format!("the addresses of {host:?}: {result:?}"));
        self.act_in_task();
    }
}
