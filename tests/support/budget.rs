//! The running time of random programs.

use std::env;
use std::time::Duration;

#[derive(Clone, Copy)]
pub enum Budget {
    Programs(u32),
    Time(Duration),
}

impl Budget {
    /// Returns the budget of `POLYSELECT_MODEL_PROGRAMS` or else `POLYSELECT_MODEL_SECONDS`;
    /// without them, `seconds`.
    pub fn or_seconds(seconds: u32) -> Self {
        let number = |name| {
            let value = env::var(name).ok()?;
            Some(value.parse().unwrap_or_else(|_| panic!("{name}: {value:?} is not a number")))
        };
        match (number("POLYSELECT_MODEL_PROGRAMS"), number("POLYSELECT_MODEL_SECONDS")) {
            (Some(programs), _) => Self::Programs(programs),
            (None, given) => Self::Time(Duration::from_secs(given.unwrap_or(seconds).into())),
        }
    }
}
