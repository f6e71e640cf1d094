//! Simulated event ports for tests on Linux: the calls with the results that the manual pages of illumos describe, over
//! real Linux descriptors.
//!
//! A port is an epoll whose entries fire once. An association ends when its event is retrieved; an event that is
//! due at the association is queued then, and describes the past from there on. In one of four calls the events come
//! with the error of an interrupted call. Unlike on illumos, a descriptor that is closed while a
//! duplicate is open keeps its association.

#![allow(
    unsafe_code,
    clippy::cast_possible_wrap,
    clippy::multiple_unsafe_ops_per_block,
    missing_docs,
    unreachable_pub,
    clippy::missing_safety_doc,
    non_camel_case_types
)]

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{c_int, c_uint, c_ushort, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub const PORT_SOURCE_FD: c_int = 4;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct port_event {
    pub portev_events: c_int,
    pub portev_source: c_ushort,
    pub portev_pad: c_ushort,
    pub portev_object: usize,
    pub portev_user: *mut c_void,
}

#[derive(Default)]
struct Port {
    /// The requested events and the user's number of each association.
    objects: BTreeMap<c_int, (c_int, usize)>,
    /// Associations whose event was sent and not retrieved, and its bits.
    sent: VecDeque<(c_int, c_int)>,
    calls: u64,
}

static PORTS: Mutex<BTreeMap<c_int, Port>> = Mutex::new(BTreeMap::new());

fn ports() -> MutexGuard<'static, BTreeMap<c_int, Port>> {
    PORTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fail(error: c_int) -> c_int {
    // SAFETY: the location is this thread's.
    unsafe { *libc::__errno_location() = error };
    -1
}

fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// What `poll` finds now.
fn look(number: c_int, events: c_int) -> c_int {
    let mut entry = libc::pollfd { fd: number, events: events as i16, revents: 0 };
    // SAFETY: there is one entry.
    unsafe { libc::poll(&raw mut entry, 1, 0) };
    entry.revents.into()
}

pub unsafe fn port_create() -> c_int {
    // SAFETY: opens a descriptor, which `exec` does not close unless that is asked for.
    let number = unsafe { libc::epoll_create1(0) };
    if number >= 0 {
        ports().insert(number, Port::default());
    }
    number
}

fn leave_epoll(port: c_int, number: c_int) {
    // SAFETY: a removal needs no event.
    unsafe { libc::epoll_ctl(port, libc::EPOLL_CTL_DEL, number, std::ptr::null_mut()) };
}

pub unsafe fn port_associate(
    port: c_int,
    _source: c_int,
    object: usize,
    events: c_int,
    user: *mut c_void,
) -> c_int {
    let number = object as c_int;
    // SAFETY: the argument is an integer.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return fail(libc::EBADFD);
    }
    let mut ports = ports();
    let Some(state) = ports.get_mut(&port) else { return fail(libc::EBADF) };
    leave_epoll(port, number);
    state.sent.retain(|(other, _)| *other != number);
    state.objects.insert(number, (events, user.addr()));
    let found = look(number, events);
    if found != 0 {
        state.sent.push_back((number, found));
        return 0;
    }
    let events = events as u32 | libc::EPOLLONESHOT as u32;
    let mut event = libc::epoll_event { events, u64: number as u64 };
    // SAFETY: the event lives through the call.
    let added = unsafe { libc::epoll_ctl(port, libc::EPOLL_CTL_ADD, number, &raw mut event) };
    // Linux refuses files that never block; nothing but what was found changes there.
    if added < 0 && errno() != libc::EPERM {
        state.objects.remove(&number);
        return fail(errno());
    }
    0
}

pub unsafe fn port_dissociate(port: c_int, _source: c_int, object: usize) -> c_int {
    let number = object as c_int;
    let mut ports = ports();
    let Some(state) = ports.get_mut(&port) else { return fail(libc::EBADF) };
    if state.objects.remove(&number).is_none() {
        return fail(libc::ENOENT);
    }
    state.sent.retain(|(other, _)| *other != number);
    leave_epoll(port, number);
    0
}

pub unsafe fn port_getn(
    port: c_int,
    list: *mut port_event,
    max: c_uint,
    count: *mut c_uint,
    timeout: *mut libc::timespec,
) -> c_int {
    let has_sent = ports().get(&port).is_some_and(|state| !state.sent.is_empty());
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let timeout = if has_sent { &raw const zero } else { timeout.cast_const() };
    let mut entry = libc::pollfd { fd: port, events: libc::POLLIN, revents: 0 };
    // SAFETY: there is one entry, and the timeout is the caller's.
    if unsafe { libc::ppoll(&raw mut entry, 1, timeout, std::ptr::null()) } < 0 {
        return fail(errno());
    }
    let mut ports = ports();
    let Some(state) = ports.get_mut(&port) else { return fail(libc::EBADF) };
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; max as usize];
    // SAFETY: there is room for `max` events.
    let found = unsafe { libc::epoll_wait(port, events.as_mut_ptr(), max as c_int, 0) };
    for event in &events[..found.max(0) as usize] {
        let number = event.u64 as c_int;
        leave_epoll(port, number);
        if state.objects.contains_key(&number) {
            state.sent.push_back((number, event.events as c_int));
        }
    }
    let mut filled = 0;
    while filled < max {
        let Some((number, portev_events)) = state.sent.pop_front() else { break };
        let (_, user) = state.objects.remove(&number).expect("is associated");
        let event = port_event {
            portev_events,
            portev_source: PORT_SOURCE_FD as c_ushort,
            portev_pad: 0,
            portev_object: number as usize,
            portev_user: std::ptr::without_provenance_mut(user),
        };
        // SAFETY: the list has room for `max` events.
        unsafe { list.add(filled as usize).write(event) };
        filled += 1;
    }
    state.calls += 1;
    if filled == 0 {
        // The count stays as it was: a fault of some kernels.
        return fail(libc::ETIME);
    }
    // SAFETY: the caller's.
    unsafe { *count = filled };
    if state.calls % 4 == 0 { fail(libc::EINTR) } else { 0 }
}
