//! The common parts of the benchmarks: arguments, rounds that alternate, CPU time, what a debugger counts,
//! servers in processes of their own and bytes to send them, tables and CSV.
//!
//! ```text
//! cargo bench -p polyselect-benches
//! cargo bench -p polyselect-benches -- --quick
//! cargo bench -p polyselect-benches -- --csv /tmp/figures.csv
//! cargo bench -p polyselect-benches --bench NAME -- --help
//! ```
//!
//! The first runs all of them, the second checks quickly that all of them run. `plot` draws the output of `--csv`; its
//! documentation shows the command.

mod arguments;
mod clock;
mod compare;
mod counters;
mod descriptors;
mod pattern;
mod poll_ring;
mod process;
mod report;

pub use arguments::Common;
pub use clock::{CpuClock, cpu_time, timed};
pub use compare::{Compared, Spread, alternate, compare, rounds};
pub use counters::{figure, instructions, system_calls};
pub use descriptors::{DescriptorLimit, raise_descriptor_limit};
pub use pattern::Pattern;
pub use poll_ring::{Completed, PollRing};
pub use process::{ServerProcess, end_with_parent, memory_of};
pub use report::{CSV_HEADER, Report, Setting};
