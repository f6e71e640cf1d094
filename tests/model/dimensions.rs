//! The dimensions of a random program beyond the plain steps, and which of them are enabled.

use std::sync::OnceLock;

/// A kind of step, or a check, that can be disabled on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// System calls fail.
    Faults,
    /// A descriptor that is not registered reuses the number of one that was.
    Strangers,
    /// Children that wake, drop, rebuild, use their copy, or live on.
    Forks,
    /// The selector moves to other threads.
    Threads,
    /// `set_watch`.
    Watches,
    /// An outer poll watches the selector's descriptor.
    Nesting,
    /// A full socket hangs up, and a hang-up is readiness to write.
    HangUps,
    /// A small batch starves no registration.
    Starvation,
    /// A wait without a reason to return lasts.
    Idleness,
}

use Dimension::*;

const NAMES: &[(&str, Dimension)] = &[
    ("faults", Faults),
    ("strangers", Strangers),
    ("forks", Forks),
    ("threads", Threads),
    ("watches", Watches),
    ("nesting", Nesting),
    ("hang-ups", HangUps),
    ("starvation", Starvation),
    ("idleness", Idleness),
];

/// The dimensions that every backend passes.
const ENABLED: &[Dimension] =
    &[Faults, Strangers, Forks, Threads, Watches, Nesting, HangUps, Starvation, Idleness];

/// The names, separated by commas, that replace the default list.
const VARIABLE: &str = "POLYSELECT_MODEL_DIMENSIONS";

fn chosen() -> Option<Vec<Dimension>> {
    let chosen = std::env::var(VARIABLE).ok()?;
    if chosen == "all" {
        return Some(NAMES.iter().map(|&(_, dimension)| dimension).collect());
    }
    let parse = |name: &str| {
        let found = NAMES.iter().find(|(known, _)| *known == name).map(|&(_, found)| found);
        let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
        found.unwrap_or_else(|| panic!("{VARIABLE}: {name:?} is not `all` and not in {names:?}"))
    };
    Some(chosen.split(',').filter(|name| !name.is_empty()).map(parse).collect())
}

impl Dimension {
    pub fn is_enabled(self) -> bool {
        static CHOSEN: OnceLock<Option<Vec<Dimension>>> = OnceLock::new();
        CHOSEN.get_or_init(chosen).as_deref().unwrap_or(ENABLED).contains(&self)
    }
}

/// Whether the variable is set and replaces the list above.
pub fn are_chosen() -> bool {
    std::env::var_os(VARIABLE).is_some()
}
