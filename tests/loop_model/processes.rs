//! Child processes of tasks: each delivers its result, and is reaped.

use std::cell::RefCell;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::thread;

use polyselect::asyncio::{self, Process};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::outside::Course;
use super::world::World;

/// Starting one takes as long as the rest of a program.
const MOST_PROCESSES: usize = 3;

#[derive(Default)]
pub struct Processes {
    started: RefCell<Vec<Pid>>,
}

impl Processes {
    pub fn have_started(&self) -> bool {
        !self.started.borrow().is_empty()
    }

    /// Whether one of the processes runs, or has not been reaped.
    pub fn are_left(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.started.borrow().iter().any(|&process| waitid(WaitId::Pid(process), look).is_ok())
    }
}

impl World {
    pub async fn run_process(self: &Rc<Self>, course: Course) {
        if self.processes.started.borrow().len() >= MOST_PROCESSES {
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
        self.processes.started.borrow_mut().push(id);
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
}
