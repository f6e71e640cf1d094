//! Whether a source is ready, by a call that no loop of the model uses.

use std::time::Duration;

use polyselect::Interest;

/// Waits up to `timeout` until a source is ready for its interest.
#[cfg(unix)]
pub fn is_ready(source: &impl std::os::fd::AsFd, interest: Interest, timeout: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN | PollFlags::RDHUP, interest.contains(Interest::READABLE));
    flags.set(PollFlags::OUT, interest.contains(Interest::WRITABLE));
    let mut entry = [PollFd::new(source, flags)];
    let timeout = Timespec::try_from(timeout).expect("a short time");
    rustix::io::retry_on_intr(|| poll(&mut entry, Some(&timeout))).expect("polls");
    !interest.is_empty() && entry[0].revents().intersects(flags)
}

/// The same by `select`, which on Windows is a call of the sockets' library alone.
#[cfg(windows)]
pub fn is_ready(
    source: &impl std::os::windows::io::AsSocket,
    interest: Interest,
    timeout: Duration,
) -> bool {
    use polyselect::{Backend, Events, Selector};

    let mut selector = Selector::with_backend(Backend::Select).expect("opens");
    selector.register(source, interest, ()).expect("is a socket");
    let mut events = Events::with_capacity(1);
    selector.select(&mut events, timeout).expect("selects") > 0
}
