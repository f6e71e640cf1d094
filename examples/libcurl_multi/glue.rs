//! libcurl's multi interface on an event loop. libcurl calls these functions from inside its own,
//! where the loop cannot be borrowed: a `Local` queues the work.

#![allow(unsafe_code, clippy::multiple_unsafe_ops_per_block)] // Callbacks of C.

use std::ffi::{c_int, c_long, c_void};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use polyselect::{Interest, Local, Next};

use crate::downloads::Downloads;
use crate::libcurl::{self, Handle};

/// Changes the interest of a socket, by a duplicate, because libcurl may close it after this call.
pub(crate) unsafe extern "C" fn on_socket(
    _: Handle,
    socket: c_int,
    what: c_int,
    local: *mut c_void,
    _: *mut c_void,
) -> c_int {
    // SAFETY: the pointer was passed with this function, and the socket is open during the call.
    let (local, source) =
        unsafe { (&*local.cast::<Local<Downloads>>(), BorrowedFd::borrow_raw(socket)) };
    let result = source.try_clone_to_owned().and_then(|source| {
        local.call(move |event_loop| {
            if let Some(key) = event_loop.state.sources.remove(&socket) {
                event_loop.unregister(key).expect("is registered");
            }
            let wants = |bit, yes| if what & bit != 0 { yes } else { Interest::empty() };
            let interest =
                wants(libcurl::IN, Interest::READABLE) | wants(libcurl::OUT, Interest::WRITABLE);
            if what != libcurl::POLL_REMOVE {
                let key = event_loop.register(source, interest, move |event_loop, _, event| {
                    let bit = |is_ready, bit| if is_ready { bit } else { 0 };
                    let ready = bit(event.is_readable(), libcurl::IN)
                        | bit(event.is_writable(), libcurl::OUT);
                    Downloads::act(event_loop, socket, ready).map(|()| Next::Keep)
                });
                event_loop.state.sources.insert(socket, key.expect("a socket can be watched"));
            }
        })
    });
    result.map_or(-1, |()| 0)
}

/// Sets the milliseconds after which libcurl must be called; -1 is never.
pub(crate) unsafe extern "C" fn on_timer(_: Handle, after: c_long, local: *mut c_void) -> c_int {
    // SAFETY: the pointer was passed with this function.
    let local = unsafe { &*local.cast::<Local<Downloads>>() };
    let result = local.call(move |event_loop| {
        event_loop.state.timer.take().map(|timer| event_loop.cancel(timer).ok());
        let after = u64::try_from(after).map(Duration::from_millis);
        event_loop.state.timer =
            after.ok().map(|after| event_loop.call_later(after, Downloads::act_in_time));
    });
    result.map_or(-1, |()| 0)
}
