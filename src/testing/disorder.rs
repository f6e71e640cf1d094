//! [`Disorder`]: how much a lab may change what a program sees.

/// How often a lab does the things that a system may do but seldom does: chances in 256, at each opportunity.
///
/// The levels are named by what they rest on:
///
/// - [`none`](Self::none): the kernel's events are reported as they come;
/// - [`promised`](Self::promised): what the documents of this crate leave open on a system whose network takes no
///   time. A correct program passes;
/// - [`network`](Self::network): bytes and connections take their time in addition. A correct program passes;
/// - [`beyond`](Self::beyond): orders that the documents promise are broken, too. A correct program may rest on
///   these promises, so this is for finding out whether it does.
///
/// ```
/// use polyselect::testing::Disorder;
///
/// let only_the_order = Disorder { order: 128, ..Disorder::none() };
/// assert_ne!(only_the_order, Disorder::promised());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disorder {
    /// The events of a batch come in another order.
    pub order: u8,
    /// A source that is watched for edges is reported without an edge: there may be nothing to read.
    pub spurious: u8,
    /// A wait ends without a reason, as by a waker. Only of selectors that have a waker, as loops with a
    /// [`Remote`](crate::Remote) or with tasks do. Without effect on Windows.
    pub wake: u8,
    /// A signal comes during a wait.
    pub interrupt: u8,
    /// A wait lasts up to 10 ms longer than its timeout.
    pub late: u8,
    /// Up to 10 ms pass between a wait and what follows it, as when another process has the processor.
    pub stall: u8,
    /// The calls of other threads come one iteration later.
    pub remote: u8,
    /// Reads and writes of [`Async`](crate::asyncio::Async) sources move less than there is or fits, whatever
    /// the type of the source. Of a pipe in packet mode (`O_DIRECT`) a short read loses the rest of the packet: set it to
    /// 0 for such a program.
    pub short: u8,
    /// A source that is ready is reported later: with the next wait, or after up to 10 ms.
    pub delay: u8,
    /// Registrations fail with `ENOMEM`, those of wakers included. No level has it.
    pub refuse: u8,
    /// Tasks that are ready are polled in another order than they were woken.
    pub tasks: u8,
    /// Timers of equal deadlines run in another order than they were set.
    pub timers: u8,
}

impl Disorder {
    /// Returns the level at which nothing happens.
    ///
    /// See [`Disorder`] for an example.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            order: 0,
            spurious: 0,
            wake: 0,
            interrupt: 0,
            late: 0,
            stall: 0,
            remote: 0,
            short: 0,
            delay: 0,
            refuse: 0,
            tasks: 0,
            timers: 0,
        }
    }

    /// Returns the level of what the documents leave open.
    ///
    /// See [`Disorder`] for an example.
    #[must_use]
    pub const fn promised() -> Self {
        Self {
            order: 128,
            spurious: 16,
            wake: 16,
            interrupt: 16,
            late: 32,
            stall: 32,
            remote: 64,
            short: 64,
            ..Self::none()
        }
    }

    /// Returns the level of a network that takes time.
    ///
    /// See [`explore`](crate::testing::explore) for an example.
    #[must_use]
    pub const fn network() -> Self {
        Self { delay: 48, ..Self::promised() }
    }

    /// Returns the level that breaks promises.
    ///
    /// ```
    /// use polyselect::testing::Disorder;
    ///
    /// assert!(Disorder::beyond().tasks > Disorder::network().tasks);
    /// ```
    #[must_use]
    pub const fn beyond() -> Self {
        Self { tasks: 128, timers: 128, ..Self::network() }
    }

    /// The level with this name.
    pub(super) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::none(),
            "promised" => Self::promised(),
            "network" => Self::network(),
            "beyond" => Self::beyond(),
            _ => return None,
        })
    }
}
