//! The flags that an event may report at a moment.

use polyselect::{Backend, Interest, Ready};

/// The flags that every backend reports alike.
pub const GUARANTEED: Ready = Ready::READABLE.union(Ready::WRITABLE).union(Ready::PRIORITY);

/// Returns the guaranteed flags of an interest.
pub fn asked(interest: Interest) -> Ready {
    let mut asked = Ready::empty();
    asked.set(Ready::READABLE, interest.contains(Interest::READABLE));
    asked.set(Ready::WRITABLE, interest.contains(Interest::WRITABLE));
    asked.set(Ready::PRIORITY, interest.contains(Interest::PRIORITY));
    asked
}

/// The flags that an event may report at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Truth {
    /// All of the guaranteed flags here must be set.
    pub least: Ready,
    /// No other flag may be set.
    pub most: Ready,
}

/// The effect of a hang-up alone on `WRITABLE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUp {
    Writable,
    /// Writable, and `select` sees it only if it watches for reading too.
    WritableIfSeen,
}

impl HangUp {
    pub fn on(backend: Backend) -> Self {
        if backend == Backend::Select { Self::WritableIfSeen } else { Self::Writable }
    }

    /// Whether it must be reported as `WRITABLE`; otherwise it may be.
    #[cfg(unix)]
    pub fn must_be_writable(self, interest: Interest) -> bool {
        self == Self::Writable || interest.contains(Interest::READABLE)
    }
}
