//! Work outside the loop: threads of the pool, processes and names. Each delivers the result of its
//! work, and abandoned work leaves nothing behind.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread;

use polyselect::asyncio::{self, Process};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::world::{World, panic_as_planned};

/// Starting one takes as long as the rest of a program.
const MOST_PROCESSES: usize = 3;

/// The work of a thread of the pool.
#[derive(Clone, Copy, Debug)]
pub enum Blocking {
    Return(usize),
    Panic,
    /// The task is cancelled while the work may be running.
    Abandon,
}

/// The course of a child process.
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

#[derive(Default)]
pub struct Outside {
    processes: RefCell<Vec<Pid>>,
}

impl Outside {
    pub fn has_processes(&self) -> bool {
        !self.processes.borrow().is_empty()
    }

    /// Whether one of the processes runs, or has not been reaped.
    pub fn are_processes_left(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.processes.borrow().iter().any(|&process| waitid(WaitId::Pid(process), look).is_ok())
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

    pub async fn run_process(self: &Rc<Self>, course: Course) {
        if self.outside.processes.borrow().len() >= MOST_PROCESSES {
            return;
        }
        let mut command = match course {
            Course::Exit(code) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("exit {code}")]);
                shell
            }
            _ => Command::new("cat"),
        };
        let mut process =
            Process::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped())).expect("starts");
        let id = Pid::from_raw(process.id().cast_signed()).expect("a child's is not zero");
        self.outside.processes.borrow_mut().push(id);
        // Shortly after its start it has copies of all descriptors, so a hang-up is not seen before
        // it closes them.
        let outside = self.lab.outside();
        thread::spawn(move || {
            let _outside = outside;
            // It may have been reaped.
            let _ = waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        });
        // Steps may cancel the task here, with the process running.
        asyncio::yield_now().await;
        self.act_in_task();
        match course {
            Course::Exit(code) => {
                let status = process.wait().await.map(|status| status.code());
                let is_right = matches!(status, Ok(Some(it)) if it == i32::from(code));
                self.check(is_right, || format!("exit {code}: {status:?}"));
            }
            Course::Copy(count) => {
                let bytes: Vec<_> = (0..count).map(|index| index as u8).collect();
                let output = process.communicate(&bytes, count).await;
                let is_right =
                    matches!(&output, Ok(it) if it.status.success() && it.stdout == bytes);
                self.check(is_right, || format!("cat of {count} bytes: {output:?}"));
            }
            Course::Kill => {
                let killed = process.kill();
                let status = process.wait().await.map(|status| status.signal());
                let is_right = killed.is_ok() && matches!(status, Ok(Some(libc::SIGKILL)));
                self.check(is_right, || format!("kill: {killed:?}, {status:?}"));
            }
            Course::KillOnDrop => process.set_kill_on_drop(true),
            Course::Leave => {}
        }
        self.act_in_task();
    }

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
