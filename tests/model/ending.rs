//! The end of a program: everything is released.

use polyselect::Backend;

use super::dimensions::Dimension;
use super::program::{Outcome, PLACES, Run, Sel};

/// The descriptors of a selector: its kernel object's and the waker's.
#[cfg(unix)]
const MOST_OWN: usize = 6;

/// The further descriptors that nesting may need.
#[cfg(unix)]
const MOST_FOR_NESTING: usize = 3;

impl Run<'_> {
    /// Checks that the selector has opened no more descriptors than it needs.
    #[cfg(unix)]
    pub fn check_own_descriptors(&self) -> Outcome {
        use super::own_descriptors::open_descriptors;
        use super::subject::Subject;

        let Some(before) = self.setting.own_descriptors else { return Ok(()) };
        let open = open_descriptors().map_err(|error| error.to_string())?.len();
        let subjects = self.subjects.iter().chain(&self.strangers);
        let ours = subjects.flat_map(Subject::numbers).count()
            + usize::from(self.nested.is_some())
            + usize::from(self.living_child.is_some());
        let (own, mut most) = (open - before - ours, MOST_OWN);
        most += if self.nested.is_some() { MOST_FOR_NESTING } else { 0 };
        if own > most { Err(format!("the selector has {own} descriptors")) } else { Ok(()) }
    }

    /// Unregisters every second registration, drops the selector with the others, and checks that each
    /// file is released.
    pub fn finish(mut self) -> Outcome {
        self.select(64)?;
        self.select(64)?;
        for place in (0..PLACES).step_by(2) {
            self.unregister(place)?;
        }
        while !self.strangers.is_empty() && Dimension::Strangers.is_enabled() {
            self.release_stranger()?;
        }
        self.nested = None;
        self.has_left_ring |= self.has_moved && self.has_ring();
        let other = Sel::with_backend(Backend::Poll).map_err(|error| error.to_string())?;
        self.library("drop", |selector| drop(std::mem::replace(selector, other)))?;
        let time = self.time_to_release()?;
        for subject in std::mem::take(&mut self.subjects) {
            subject.release(time)?;
        }
        self.reap()
    }
}
