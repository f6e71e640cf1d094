//! A list of everything that a loop waits for.

use std::fmt::{self, Write};
#[cfg(feature = "async")]
use std::panic::Location;
#[cfg(feature = "async")]
use std::time::Instant;

use super::EventLoop;
use super::signals::Signals;

/// A task of a loop; [`EventLoop::tasks`] lists them.
///
/// ```
/// use polyselect::{EventLoop, asyncio};
/// use std::time::Duration;
///
/// let mut event_loop = EventLoop::new(())?;
/// let sleeper = event_loop.spawn_named("sleeper", asyncio::sleep(Duration::from_secs(60)));
/// event_loop.run_until_idle()?;
/// let tasks = event_loop.tasks();
/// assert_eq!(tasks[0].name.as_deref(), Some("sleeper"));
/// assert_eq!(tasks[0].spawned_at.file(), file!());
/// assert!(tasks[0].waits_for[0].starts_with("a timer"));
/// # drop(sleeper);
/// # Ok::<(), std::io::Error>(())
/// ```
#[cfg(feature = "async")]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The name, if it was spawned with one.
    pub name: Option<String>,
    /// The place where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// Whether it was woken, and is polled in the next iteration.
    pub is_ready: bool,
    /// The sources and the timer that will wake it, as text. It may also wait for another
    /// task, a channel or a thread, which are not listed.
    pub waits_for: Vec<String>,
}

#[cfg(feature = "async")]
impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "the task {name:?}, spawned at {}", self.spawned_at)?,
            None => write!(f, "a task, spawned at {}", self.spawned_at)?,
        }
        match (&self.waits_for[..], self.is_ready) {
            (_, true) => f.write_str(", ready"),
            ([], false) => f.write_str(", waits for a waker"),
            (waits_for, false) => write!(f, ", waits for {}", waits_for.join(", ")),
        }
    }
}

impl<T: 'static> EventLoop<T> {
    /// Lists the tasks, each with the sources and the timer that it waits for. Takes time for each pair of a task and a
    /// source.
    ///
    /// See [`TaskInfo`] for an example.
    #[cfg(feature = "async")]
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskInfo> {
        let now = self.now();
        self.tasks.all().iter().map(|task| self.task_info(task, now)).collect()
    }

    #[cfg(feature = "async")]
    fn task_info(&self, task: &crate::asyncio::Task, now: Instant) -> TaskInfo {
        let mut waits_for = Vec::new();
        for (key, registration) in &self.sources.selector {
            if let Some(source) = registration.source().0.task_source() {
                let interest = source.waiting(&task.waker);
                if !interest.is_empty() {
                    let place = source.location();
                    waits_for.push(format!("{interest:?} of {key}, made at {place}"));
                }
            }
        }
        if let Some(deadline) = self.timers.wake_of(&task.waker) {
            waits_for.push(format!("a timer in {:?}", deadline.saturating_duration_since(now)));
        }
        TaskInfo {
            name: task.name.as_deref().map(str::to_owned),
            spawned_at: task.location,
            is_ready: task.is_ready(),
            waits_for,
        }
    }

    /// Returns a list of everything that the loop waits for, as text: its sources, signals, children, tasks and timers,
    /// each with the place where it was registered, spawned or set. A task's timer is listed with the task.
    ///
    /// It shows why a program hangs; `examples/asyncio_ps.rs` prints it at a signal.
    ///
    /// ```
    /// use polyselect::{EventLoop, Interest, Next};
    /// # #[cfg(unix)] {
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (left, _right) = UnixStream::pair()?;
    /// let mut event_loop = EventLoop::new(())?;
    /// event_loop.register(left, Interest::READABLE, |_loop, _left, _event| Ok(Next::Keep))?;
    /// assert!(event_loop.dump().contains(file!()));
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn dump(&self) -> String {
        let mut list = String::from("the loop waits for:");
        let mut line = |text: fmt::Arguments<'_>| {
            // Writing to a string does not fail.
            let _ = write!(list, "\n  {text}");
        };
        for (key, registration) in &self.sources.selector {
            let (watch, place) = (registration.watch(), registration.source().0.location());
            line(format_args!("{key}, {watch:?}, registered at {place}"));
        }
        self.signals.iter().flat_map(Signals::places).for_each(|(signal, place)| {
            line(format_args!("signal {signal}, registered at {place}"));
        });
        self.children.places().for_each(|place| line(format_args!("a child, watched at {place}")));
        #[cfg(feature = "async")]
        self.tasks().iter().for_each(|task| line(format_args!("{task}")));
        if self.remotes.are_in_use() {
            line(format_args!("calls of a `Remote` that exists"));
        }
        if !self.calls.is_empty() {
            let count = self.calls.len();
            line(format_args!("{count} queued {}", if count == 1 { "call" } else { "calls" }));
        }
        self.timers.places().for_each(|place| line(format_args!("a timer, set at {place}")));
        list
    }

    /// Panics unless the loop has nothing left: no source, signal, child, task, timer, call or remote. For the end of a
    /// test; the message is that of [`dump`](Self::dump).
    ///
    /// A task whose handle was dropped ends in the next iteration: call this after
    /// [`run_until_idle`](Self::run_until_idle).
    ///
    /// # Panics
    ///
    /// If something is left.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use polyselect::testing::{Disorder, Lab};
    /// use std::time::Duration;
    ///
    /// let lab = Lab::new(1, Disorder::none());
    /// let mut event_loop = EventLoop::in_lab(&lab, ())?;
    /// let timer = event_loop.call_later(Duration::from_secs(1), |_loop| {});
    /// event_loop.cancel(timer)?;
    /// event_loop.assert_nothing_left();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "testing")]
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        assert!(self.has_nothing_left(), "something is left: {}", self.dump());
    }
}
