//! [`Link`]: latency and bandwidth.

use std::time::Duration;

use crate::clock::nanoseconds;

/// The most bytes that are in transit in one direction.
pub(super) const WINDOW: usize = 64 * 1024;

/// The latency and the bandwidth of a connection.
///
/// ```
/// use polyselect::testing::Link;
/// use std::time::Duration;
///
/// let link = Link::new().latency(Duration::from_millis(20)).bandwidth(1_000_000);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Link {
    pub(super) latency: u64,
    bytes_per_second: Option<u64>,
}

impl Link {
    /// Returns a link on which bytes take no time.
    ///
    /// See [`Link`] for an example.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long a byte takes from one end to the other.
    ///
    /// See [`Link`] for an example.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = nanoseconds(latency);
        self
    }

    /// Sets how many bytes pass in a second, at least one; by default as many as there are.
    ///
    /// See [`Link`] for an example.
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bytes_per_second = Some(bytes_per_second.max(1));
        self
    }

    pub(super) fn duration(&self, bytes: usize) -> u64 {
        let per_second = self.bytes_per_second.unwrap_or(u64::MAX);
        (bytes as u64).saturating_mul(1_000_000_000) / per_second
    }

    /// How many bytes arrive together at most: where they take time, as many as a packet of Ethernet holds.
    pub(super) fn segment(&self) -> usize {
        if self.bytes_per_second.is_some() { 1_460 } else { WINDOW }
    }
}
