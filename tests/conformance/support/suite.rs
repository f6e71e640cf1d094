//! The tree of the suites: the macros that declare it, and its types.

use polyselect::{Backend, Capabilities};

/// A claim that must hold on every backend with the needed capabilities.
pub struct Case {
    pub name: &'static str,
    pub needs: Needs,
    /// Whether its loops run in a lab, if the crate is built with labs.
    pub is_in_lab: bool,
    pub run: fn(Backend),
}

/// The capabilities that a case needs, in words and as a predicate.
pub struct Needs {
    pub what: &'static str,
    pub met: fn(Capabilities) -> bool,
}

/// A module: its cases, or the suites below it.
pub enum Suite {
    Cases { module: &'static str, cases: &'static [Case] },
    Group(&'static [Suite]),
}

impl Suite {
    /// Returns each suite with cases, by its name: `asyncio_time` is `asyncio/time.rs`.
    pub fn flatten(&'static self) -> Vec<(String, &'static [Case])> {
        match self {
            Self::Cases { module, cases } => {
                let (_crate, path) = module.split_once("::").expect("is not the root");
                vec![(path.replace("::", "_"), cases)]
            }
            Self::Group(suites) => suites.iter().flat_map(Self::flatten).collect(),
        }
    }
}

/// Declares the cases of a module by the names of its functions, with the capabilities that they
/// need. A case `in virtual time` waits for no real time, and must read the time from
/// [`super::now`].
///
/// ```text
/// cases! {
///     a_level_lasts_until_drained,
///     a_timeout_is_never_early in virtual time,
///     #[cfg(unix)]
///     a_full_pipe_is_an_edge in virtual time needs edge oneshot,
/// }
/// ```
///
/// A function that is missing here is dead code, an error of `scripts/lint`.
macro_rules! cases {
    ($(
        $(#[$attribute:meta])*
        $name:ident $(in virtual $time:ident)? $(needs $($capability:ident)+)?
    ),+ $(,)?) => {
        pub(crate) const SUITE: $crate::support::suite::Suite = $crate::support::suite::Suite::Cases {
            module: module_path!(),
            cases: &[$(
                $(#[$attribute])*
                $crate::support::suite::Case {
                    name: stringify!($name),
                    needs: $crate::support::suite::Needs {
                        what: stringify!($($($capability)+)?),
                        met: |_capabilities| true $($(&& _capabilities.$capability)+)?,
                    },
                    is_in_lab: !stringify!($($time)?).is_empty(),
                    run: $name,
                },
            )+],
        };
    };
}

/// Declares the modules of suites, each with `cases!` or `suites!` of its own. rustfmt does not
/// find these modules; `scripts/lint` passes it every file.
macro_rules! suites {
    ($($(#[$attribute:meta])* mod $module:ident;)+) => {
        $($(#[$attribute])* mod $module;)+

        pub(crate) const SUITE: $crate::support::suite::Suite =
            $crate::support::suite::Suite::Group(&[$($(#[$attribute])* $module::SUITE),+]);
    };
}
