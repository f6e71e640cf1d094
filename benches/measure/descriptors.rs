//! The limit of open descriptors.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many descriptors this process may have open.
#[derive(Clone, Copy, Debug)]
pub struct DescriptorLimit(u64);

/// Lets the process open as many descriptors as the system allows it to.
pub fn raise_descriptor_limit() -> io::Result<DescriptorLimit> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(DescriptorLimit(limit.maximum.unwrap_or(u64::MAX)))
}

impl DescriptorLimit {
    /// For the other descriptors of the process: standard streams, and those of the contestant.
    const BESIDES: u64 = 64;

    /// Returns whether the limit allows `descriptors` descriptors; otherwise prints a message.
    pub fn allows(self, descriptors: usize) -> bool {
        let needed = descriptors as u64 + Self::BESIDES;
        if needed > self.0 {
            println!("\nskipped: it takes {needed} descriptors, and the limit is {}", self.0);
            println!("(`ulimit -Hn` shows the limit; root, or limits.conf, can raise it)");
        }
        needed <= self.0
    }

    /// Returns the number that the limit allows.
    pub fn most(self) -> usize {
        usize::try_from(self.0.saturating_sub(Self::BESIDES)).unwrap_or(usize::MAX)
    }
}
