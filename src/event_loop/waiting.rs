//! A list of everything a loop waits for: the message of a test that is stuck.

use std::fmt::Write;

use super::EventLoop;
use super::signals::Signals;

impl<T: 'static> EventLoop<T> {
    /// Lists what the loop waits for, each with the place where it was registered.
    pub(crate) fn waiting(&self) -> String {
        let mut list = String::from("the loop waits for:");
        let mut line = |text: std::fmt::Arguments<'_>| {
            // Writing to a string does not fail.
            let _ = write!(list, "\n  {text}");
        };
        for (key, registration) in &self.sources.selector {
            let (watch, place) = (registration.watch(), registration.source().0.location());
            line(format_args!("{key}, {watch:?}, registered at {place}"));
        }
        self.signals.iter().flat_map(Signals::places).for_each(|place| {
            line(format_args!("a signal, registered at {place}"));
        });
        #[cfg(unix)]
        self.children.places().for_each(|place| line(format_args!("a child, watched at {place}")));
        #[cfg(feature = "async")]
        self.tasks.places().into_iter().for_each(|place| {
            line(format_args!("a task, spawned at {place}"));
        });
        if self.remotes.are_in_use() {
            line(format_args!("calls of a `Remote` that exists"));
        }
        if !self.timers.is_empty() {
            line(format_args!("{} timers", self.timers.len()));
        }
        list
    }
}
