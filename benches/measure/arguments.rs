//! Arguments that all benchmarks take.

use std::io;
use std::path::PathBuf;

/// For `#[command(flatten)]`.
#[derive(clap::Args, Debug)]
pub struct Common {
    /// Only these contestants; comparisons include the first of all.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Append the figures to this file as well; `cargo bench` starts in the folder `benches`.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Check in about a second that it runs; the figures mean nothing.
    #[arg(long)]
    pub quick: bool,
    /// The argument that `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Common {
    /// The contestants to run, in their order: all, or the first and those that are named.
    pub fn choose<'a, C>(&self, all: &'a [C], name: fn(&C) -> &str) -> io::Result<Vec<&'a C>> {
        let mut chosen = self.named(all, name)?;
        if let Some(first) = all.first()
            && !chosen.first().is_some_and(|&chosen| std::ptr::eq(chosen, first))
        {
            chosen.insert(0, first);
        }
        Ok(chosen)
    }

    /// All contestants, or those that are named, in their order.
    pub fn named<'a, C>(&self, all: &'a [C], name: fn(&C) -> &str) -> io::Result<Vec<&'a C>> {
        if let Some(stranger) = self.only.iter().find(|only| !all.iter().any(|c| name(c) == *only))
        {
            let names: Vec<_> = all.iter().map(name).collect();
            let message = format!("{stranger:?} is unknown; the names are {}", names.join(", "));
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let named = |c: &&C| self.only.is_empty() || self.only.iter().any(|only| only == name(c));
        Ok(all.iter().filter(named).collect())
    }
}
