//! The functions of libcurl that the example calls.

#![allow(unsafe_code)] // Foreign functions.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::io;

use crate::library::functions;

/// A `CURL *` or a `CURLM *`.
pub(crate) type Handle = *mut c_void;

/// A callback for sockets: the transfer, the socket, the action, and two user pointers.
pub(crate) type OnSocket =
    unsafe extern "C" fn(Handle, c_int, c_int, *mut c_void, *mut c_void) -> c_int;

/// A callback for the timer: its time in milliseconds, -1 for none, and a user pointer.
pub(crate) type OnTimer = unsafe extern "C" fn(Handle, c_long, *mut c_void) -> c_int;

/// A callback for data: `fwrite` with a user pointer.
pub(crate) type OnData = unsafe extern "C" fn(*const u8, usize, usize, *mut c_void) -> usize;

/// A `CURLMsg`.
#[repr(C)]
pub(crate) struct Message {
    pub(crate) kind: c_int,
    pub(crate) transfer: Handle,
    /// The `CURLcode` in a union with a pointer.
    pub(crate) result: c_int,
    _union: [u8; size_of::<*mut c_void>() - size_of::<c_int>()],
}

pub(crate) const GLOBAL_ALL: c_long = 3;
pub(crate) const OPT_NOSIGNAL: c_int = 99;
pub(crate) const OPT_FAILONERROR: c_int = 45;
pub(crate) const OPT_WRITEDATA: c_int = 10_001;
pub(crate) const OPT_URL: c_int = 10_002;
pub(crate) const OPT_WRITEFUNCTION: c_int = 20_011;
pub(crate) const MULTI_SOCKETFUNCTION: c_int = 20_001;
pub(crate) const MULTI_SOCKETDATA: c_int = 10_002;
pub(crate) const MULTI_TIMERFUNCTION: c_int = 20_004;
pub(crate) const MULTI_TIMERDATA: c_int = 10_005;
pub(crate) const MESSAGE_DONE: c_int = 1;
pub(crate) const SOCKET_TIMEOUT: c_int = -1;
/// `CURL_POLL_IN` and `CURL_CSELECT_IN`.
pub(crate) const IN: c_int = 1;
/// `CURL_POLL_OUT` and `CURL_CSELECT_OUT`.
pub(crate) const OUT: c_int = 2;
pub(crate) const POLL_REMOVE: c_int = 4;

functions! {
    Libcurl: &["libcurl.so.4", "libcurl.4.dylib", "libcurl.so"];
    global_init = "curl_global_init": unsafe extern "C" fn(c_long) -> c_int;
    easy_init = "curl_easy_init": unsafe extern "C" fn() -> Handle;
    easy_setopt = "curl_easy_setopt": unsafe extern "C" fn(Handle, c_int, ...) -> c_int;
    easy_cleanup = "curl_easy_cleanup": unsafe extern "C" fn(Handle);
    easy_strerror = "curl_easy_strerror": unsafe extern "C" fn(c_int) -> *const c_char;
    multi_init = "curl_multi_init": unsafe extern "C" fn() -> Handle;
    multi_setopt = "curl_multi_setopt": unsafe extern "C" fn(Handle, c_int, ...) -> c_int;
    multi_add_handle = "curl_multi_add_handle": unsafe extern "C" fn(Handle, Handle) -> c_int;
    multi_remove_handle = "curl_multi_remove_handle":
        unsafe extern "C" fn(Handle, Handle) -> c_int;
    multi_socket_action = "curl_multi_socket_action":
        unsafe extern "C" fn(Handle, c_int, c_int, *mut c_int) -> c_int;
    multi_info_read = "curl_multi_info_read":
        unsafe extern "C" fn(Handle, *mut c_int) -> *const Message;
    multi_strerror = "curl_multi_strerror": unsafe extern "C" fn(c_int) -> *const c_char;
    multi_cleanup = "curl_multi_cleanup": unsafe extern "C" fn(Handle) -> c_int;
}

impl Libcurl {
    pub(crate) fn initialise(&self) -> io::Result<()> {
        // SAFETY: called once, and no other thread uses the library.
        match unsafe { (self.global_init)(GLOBAL_ALL) } {
            0 => Ok(()),
            error => Err(io::Error::other(format!("curl_global_init returned {error}"))),
        }
    }
}

/// An error of the library, with its text.
pub(crate) fn check(
    code: c_int,
    text: unsafe extern "C" fn(c_int) -> *const c_char,
) -> io::Result<()> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: any number may be asked for.
    let text = unsafe { text(code) };
    // SAFETY: the texts are constants of the library.
    let text = unsafe { CStr::from_ptr(text) };
    Err(io::Error::other(text.to_string_lossy()))
}
