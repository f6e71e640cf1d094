//! The two system calls.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use super::abi;
use super::faults::{self, Fault};
use super::interpose::watch_forks;
use super::profile::profile;
use super::state::{Id, lock};

pub fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn fail(error: c_int) -> c_int {
    // SAFETY: this thread's own place for it.
    unsafe { *libc::__errno_location() = error };
    -1
}

pub unsafe extern "C" fn kqueue() -> c_int {
    watch_forks();
    lock().open()
}

pub unsafe extern "C" fn kevent(
    queue: c_int,
    changes: *const abi::kevent,
    change_count: c_int,
    events: *mut abi::kevent,
    room: c_int,
    timeout: *const libc::timespec,
) -> c_int {
    faults::count();
    let slice = |count: c_int| usize::try_from(count).unwrap_or(0);
    let changes = match slice(change_count) {
        0 => &[],
        // SAFETY: the caller's list has as many.
        count => unsafe { std::slice::from_raw_parts(changes, count) },
    };
    // SAFETY: null, or the caller's timeout.
    let timeout = unsafe { timeout.as_ref() };
    let (answers, result) = call(queue, changes, slice(room), timeout);
    for (index, answer) in answers.iter().enumerate() {
        // SAFETY: there are at most as many as the caller has room for.
        unsafe { events.add(index).write(*answer) };
    }
    match result {
        Ok(()) => answers.len() as c_int,
        Err(error) => fail(error),
    }
}

type Answers = Vec<abi::kevent>;

fn call(
    number: c_int,
    changes: &[abi::kevent],
    room: usize,
    timeout: Option<&libc::timespec>,
) -> (Answers, Result<(), c_int>) {
    let fault = faults::next();
    if let Some(Fault::Call(error)) = fault
        && error != libc::EINTR
    {
        return (Vec::new(), Err(error));
    }
    let mut kernel = lock();
    let Some(id) = kernel.find(number) else { return (Vec::new(), Err(libc::EBADF)) };
    let mut answers = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        let injected = match fault {
            Some(Fault::Change(error)) if index == 0 => Some(error),
            _ => None,
        };
        let error = match injected.map_or_else(|| kernel.register(id, change), Err) {
            Ok(()) if change.flags & abi::EV_RECEIPT == 0 => continue,
            Ok(()) => 0,
            Err(error) => error,
        };
        if answers.len() == room {
            // A receipt that does not fit ends the list, without an error if all went well.
            return if error == 0 { (answers, Ok(())) } else { (Vec::new(), Err(error)) };
        }
        answers.push(abi::kevent { flags: abi::EV_ERROR, data: error.into(), ..*change });
    }
    drop(kernel);
    if fault == Some(Fault::Call(libc::EINTR)) {
        return (Vec::new(), Err(libc::EINTR));
    }
    if !answers.is_empty() || room == 0 {
        return (answers, Ok(()));
    }
    match wait(id, number, room, timeout) {
        Ok(events) => (events, Ok(())),
        Err(error) => (Vec::new(), Err(error)),
    }
}

fn wait(
    id: Id,
    number: c_int,
    room: usize,
    timeout: Option<&libc::timespec>,
) -> Result<Answers, c_int> {
    let deadline = match timeout {
        None => None,
        Some(timeout) if timeout.tv_sec < 0 || !(0..1_000_000_000).contains(&timeout.tv_nsec) => {
            return Err(libc::EINVAL);
        }
        Some(timeout) => {
            Some(deadline(Duration::new(timeout.tv_sec.cast_unsigned(), timeout.tv_nsec as u32)))
        }
    };
    loop {
        let mut kernel = lock();
        if !kernel.queues.contains_key(&id) {
            return Err(libc::EBADF);
        }
        let events = kernel.scan(id, room);
        let has_silent = kernel.queues[&id].has_silent();
        drop(kernel);
        // A deadline that no clock can represent is never reached.
        let left = match deadline {
            None | Some(None) => Duration::MAX,
            Some(Some(deadline)) => deadline.saturating_duration_since(Instant::now()),
        };
        if !events.is_empty() || left.is_zero() {
            return Ok(events);
        }
        let left = if has_silent { left.min(Duration::from_millis(10)) } else { left };
        sleep(number, left)?;
    }
}

fn deadline(timeout: Duration) -> Option<Instant> {
    let tick = profile().tick;
    let rounded = if tick.is_zero() || timeout.is_zero() {
        timeout
    } else {
        let ticks = timeout.as_nanos().div_ceil(tick.as_nanos()) + 1;
        tick.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX)).max(timeout)
    };
    Instant::now().checked_add(rounded)
}

/// Waits until the queue's epoll is readable.
fn sleep(number: c_int, timeout: Duration) -> Result<(), c_int> {
    let mut entry = libc::pollfd { fd: number, events: libc::POLLIN, revents: 0 };
    let longest = Duration::from_secs(1 << 30);
    let timeout = timeout.min(longest);
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs().cast_signed(),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: one entry and a timeout, which live through the call.
    match unsafe { libc::ppoll(&raw mut entry, 1, &raw const timeout, std::ptr::null()) } {
        -1 => Err(errno()),
        _ => Ok(()),
    }
}
