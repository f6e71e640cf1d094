//! The numbers of signals, for [`EventLoop::on_signal`](crate::EventLoop::on_signal) and `asyncio::signal`.
//!
//! ```
//! assert_ne!(polyselect::signal::SIGINT, polyselect::signal::SIGTERM);
//! ```

mod handler;
#[cfg(all(target_os = "linux", feature = "async"))]
mod record;

use std::ffi::c_int;

pub(crate) use handler::HandlerOfSignal;
#[cfg(all(target_os = "linux", feature = "async"))]
pub(crate) use record::Record;

macro_rules! signals {
    ($($(#[$attribute:meta])* $name:ident;)*) => {
        $(
            $(#[$attribute])*
            ///
            /// See [`signal`](self) for an example.
            pub const $name: c_int = libc::$name;
        )*
    };
}

signals! {
    /// The process aborts itself.
    SIGABRT;
    /// An arithmetic fault, which cannot be handled by a callback.
    SIGFPE;
    /// An invalid instruction, which cannot be handled by a callback.
    SIGILL;
    /// Ctrl-C at the terminal.
    SIGINT;
    /// An invalid memory access, which cannot be handled by a callback.
    SIGSEGV;
    /// A request to terminate, as `kill` sends it.
    SIGTERM;
}

#[cfg(unix)]
signals! {
    /// The timer of `alarm` has elapsed.
    SIGALRM;
    /// An access to memory that does not exist.
    SIGBUS;
    /// A child has ended or stopped. [`watch_child`](crate::EventLoop::watch_child) is the usual way to handle it.
    SIGCHLD;
    /// The process continues after a stop.
    SIGCONT;
    /// The terminal is gone; for daemons, by custom, a request to reload their configuration.
    SIGHUP;
    /// Input or output has become possible on a descriptor with `O_ASYNC`.
    SIGIO;
    /// Ends the process; it cannot be handled.
    SIGKILL;
    /// A write to a pipe or socket that has no reader. Rust programs ignore it by default.
    SIGPIPE;
    /// The profiling timer has elapsed.
    SIGPROF;
    /// Ctrl-\ at the terminal.
    SIGQUIT;
    /// Stops the process; it cannot be handled.
    SIGSTOP;
    /// An invalid system call.
    SIGSYS;
    /// A breakpoint of a debugger.
    SIGTRAP;
    /// Ctrl-Z at the terminal.
    SIGTSTP;
    /// A process in the background reads from its terminal.
    SIGTTIN;
    /// A process in the background writes to its terminal.
    SIGTTOU;
    /// A socket has urgent data.
    SIGURG;
    /// For the program's own use.
    SIGUSR1;
    /// For the program's own use.
    SIGUSR2;
    /// The virtual timer has elapsed.
    SIGVTALRM;
    /// The size of the terminal's window has changed.
    SIGWINCH;
    /// The limit of processor time is exceeded.
    SIGXCPU;
    /// The limit of a file's size is exceeded.
    SIGXFSZ;
}

#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
))]
signals! {
    /// Ctrl-T at the terminal: a request for status.
    SIGINFO;
}

/// Ctrl-Break at the console.
///
/// See [`signal`](self) for an example.
#[cfg(windows)]
pub const SIGBREAK: c_int = 21;
