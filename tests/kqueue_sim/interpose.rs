//! Calls other than the queues' own that affect them: `close` and `fork`.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::sync::{MutexGuard, Once};

use super::state::{Kernel, lock};

/// Replaces `close`. The queues forget the descriptor first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(number: c_int) -> c_int {
    lock().forget(number);
    // SAFETY: as the caller's.
    unsafe { libc::syscall(libc::SYS_close, number) as c_int }
}

/// Replaces `dup2`, which closes the target descriptor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup2(old: c_int, new: c_int) -> c_int {
    if old != new {
        lock().forget(new);
    }
    // SAFETY: as the caller's.
    unsafe {
        match old == new {
            true => libc::fcntl(old, libc::F_GETFD).min(0) + new,
            false => libc::syscall(libc::SYS_dup3, old, new, 0) as c_int,
        }
    }
}

/// The lock, held by the thread that forks.
struct Held(UnsafeCell<Option<MutexGuard<'static, Kernel>>>);

// SAFETY: only the thread that forks touches it, while it holds the lock.
unsafe impl Sync for Held {}

static HELD: Held = Held(UnsafeCell::new(None));

extern "C" fn before_fork() {
    let guard = lock();
    // SAFETY: see `Held`.
    unsafe { *HELD.0.get() = Some(guard) };
}

extern "C" fn in_parent() {
    // SAFETY: see `Held`.
    drop(unsafe { (*HELD.0.get()).take() });
}

extern "C" fn in_child() {
    // SAFETY: see `Held`.
    let guard = unsafe { (*HELD.0.get()).take() };
    if let Some(mut kernel) = guard {
        kernel.end_in_child();
    }
}

pub fn watch_forks() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handlers live as long as the program. glibc's allocator can be used in the child.
        unsafe { libc::pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child)) };
    });
}
