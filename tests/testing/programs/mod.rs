//! The programs of the page "Testing your reactor": the first version of each, and its corrections.

mod backoff;
mod chat;
#[cfg(unix)]
mod proxy;

/// The version on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    First,
    /// With one mistake less, where there were several.
    Second,
    Mended,
}

use Version::{First, Mended, Second};
