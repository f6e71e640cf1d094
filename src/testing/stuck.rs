//! A program that waits for what cannot come, or never waits.

use std::{error, fmt, io};

/// Why a program does not get on; the error of a backend in a lab, which becomes a panic.
#[derive(Debug)]
pub(crate) struct Stuck(String);

impl Stuck {
    pub(super) fn error(reason: String) -> io::Error {
        io::Error::other(Self(reason))
    }

    /// Panics if the error reports that the program is stuck; `waiting` lists what it waits for.
    pub(crate) fn check<R>(
        result: io::Result<R>,
        waiting: impl FnOnce() -> String,
    ) -> io::Result<R> {
        if let Err(error) = &result
            && let Some(stuck) = error.get_ref().and_then(|inner| inner.downcast_ref::<Self>())
        {
            panic!("{stuck}\n{}", waiting());
        }
        result
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Stuck {}
