//! A selector inside an outer loop: its descriptor is readable while `select` would return.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use polyselect::Interest;

use super::poll_truth::truths_of;
use super::program::{Outcome, PLACES, Run, Sel};
use super::subject::Kind;
use super::truth::HangUp;
use super::wait::must;

/// The descriptor that the outer loop watches.
pub struct Nested(OwnedFd);

impl Nested {
    fn is_readable(&self) -> bool {
        let asked = [(self.0.as_fd(), Interest::READABLE)];
        !truths_of(&asked, HangUp::Writable)[0].least.is_empty()
    }
}

impl Run<'_> {
    pub fn nest(&mut self) -> Outcome {
        let able = self.selector.backend().capabilities().nesting;
        let (result, failed) = self.library("descriptor", Sel::descriptor)?;
        if failed {
            self.doubt_changes();
        }
        match result {
            Ok(_) if !able => Err("nests, which it cannot".into()),
            Ok(nested) => {
                // A removal that the kernel rejected costs the selector its kernel object, sooner
                // or later.
                self.nested = (!self.has_failed).then_some(Nested(nested));
                Ok(())
            }
            Err(error) if !able && error.kind() == io::ErrorKind::Unsupported => Ok(()),
            Err(_) if failed => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A rebuilt selector has another kernel object.
    pub fn nest_after_rebuild(&mut self) -> Outcome {
        if self.nested.take().is_some() { self.nest() } else { Ok(()) }
    }

    /// The descriptor shows the events of the kernel, not those of files that are always ready.
    pub fn check_nested(&self) -> Outcome {
        let Some(nested) = &self.nested else { return Ok(()) };
        // The kernel may have rejected the change that makes it readable.
        if self.has_just_failed || nested.is_readable() {
            return Ok(());
        }
        let truths = self.truths();
        let shows = |&place: &usize| {
            let is_visible = self.subjects[place].kind() != Kind::File;
            is_visible && !must(&self.registered[place], truths[place]).is_empty()
        };
        let missing: Vec<_> = (0..PLACES).filter(shows).collect();
        if missing.is_empty() && !self.woken {
            return Ok(());
        }
        Err(format!("the nested descriptor does not show {missing:?}, woken: {}", self.woken))
    }

    /// After a wait without events. A file that `unregister` could not remove may make it readable.
    pub fn check_nested_is_settled(&self) -> Outcome {
        match &self.nested {
            Some(nested) if nested.is_readable() && !self.has_failed => {
                Err("the nested descriptor stays readable after a wait that finds nothing".into())
            }
            _ => Ok(()),
        }
    }
}
