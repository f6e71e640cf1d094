//! How long the calls of a backend may take that make up one wait.

use std::io;
use std::time::{Duration, Instant};

// Through the module above, so that a model of threads can put another in its place.
use super::Clock;

/// A longer wait consists of several calls; every system call accepts this.
const LONGEST: Duration = Duration::from_secs(24 * 24 * 60 * 60);

/// The time that is left of a wait.
#[derive(Debug)]
pub(crate) enum Timeout {
    /// The backend is called once, and does not wait.
    Zero,
    Forever,
    Until {
        deadline: Instant,
        left: Duration,
        clock: Clock,
    },
}

impl Timeout {
    pub(crate) fn starting_now(timeout: Option<Duration>, clock: Clock) -> Self {
        match timeout {
            Some(Duration::ZERO) => Self::Zero,
            None => Self::Forever,
            Some(left) => match clock.now().checked_add(left) {
                Some(deadline) => Self::Until { deadline, left, clock },
                // A deadline that the clock cannot represent is never reached.
                None => Self::Forever,
            },
        }
    }

    /// Calls `wait_once` until the end is reached or no time is left.
    pub(crate) fn wait(
        mut self,
        interruptible: bool,
        mut wait_once: impl FnMut(Option<Duration>) -> io::Result<End>,
    ) -> io::Result<()> {
        loop {
            let longest = match &self {
                Self::Zero => Some(Duration::ZERO),
                Self::Forever => None,
                Self::Until { left, .. } => Some(LONGEST.min(*left)),
            };
            if wait_once(longest)?.is_reached(interruptible) {
                return Ok(());
            }
            match &mut self {
                Self::Zero => return Ok(()),
                Self::Forever => {}
                Self::Until { deadline, left, clock } => {
                    *left = deadline.saturating_duration_since(clock.now());
                    if left.is_zero() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// How one call of the backend ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// There are events, or a waker was used.
    Reached,
    /// A signal ended the call.
    Interrupted,
    /// The timeout of the call has passed, or its event was not for the user.
    Early,
}

impl End {
    pub(crate) fn is_reached(self, interruptible: bool) -> bool {
        match self {
            Self::Reached => true,
            Self::Interrupted => interruptible,
            Self::Early => false,
        }
    }
}
