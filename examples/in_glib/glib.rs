//! The functions of glib that the example calls.

#![allow(unsafe_code)] // Foreign functions.

use std::ffi::{c_char, c_int, c_uint, c_void};

use crate::library::functions;

/// A `GMainContext *` and a `GMainLoop *`.
pub(crate) type Context = *mut c_void;
pub(crate) type MainLoop = *mut c_void;

/// A callback of glib, which returns whether it stays.
pub(crate) type OnEvent = unsafe extern "C" fn(*mut c_void) -> c_int;

/// A `GSource`, whose fields belong to glib. A program's own fields follow them.
#[repr(C)]
pub(crate) struct Source {
    _callback: [*mut c_void; 3],
    _count: c_uint,
    _context: *mut c_void,
    _numbers: [c_int; 3],
    _lists: [*mut c_void; 3],
    _name: *mut c_char,
    _private: *mut c_void,
}

/// A `GSourceFuncs`.
#[repr(C)]
pub(crate) struct SourceFunctions<S> {
    /// Before a wait: sets the longest time it may take in milliseconds, -1 for no limit, and
    /// returns whether to skip it.
    pub(crate) prepare: unsafe extern "C" fn(*mut S, *mut c_int) -> c_int,
    /// After a wait: returns whether to call `dispatch`.
    pub(crate) check: unsafe extern "C" fn(*mut S) -> c_int,
    /// Returns whether the source stays.
    pub(crate) dispatch: unsafe extern "C" fn(*mut S, *mut c_void, *mut c_void) -> c_int,
    /// Not used.
    pub(crate) rest: [*mut c_void; 3],
}

/// `G_IO_IN`.
pub(crate) const IN: c_uint = 1;
/// `G_SOURCE_CONTINUE`.
pub(crate) const CONTINUE: c_int = 1;

functions! {
    Glib: &["libglib-2.0.so.0", "libglib-2.0.0.dylib"];
    main_loop_new = "g_main_loop_new": unsafe extern "C" fn(Context, c_int) -> MainLoop;
    main_loop_run = "g_main_loop_run": unsafe extern "C" fn(MainLoop);
    main_loop_quit = "g_main_loop_quit": unsafe extern "C" fn(MainLoop);
    main_loop_unref = "g_main_loop_unref": unsafe extern "C" fn(MainLoop);
    source_new = "g_source_new": unsafe extern "C" fn(*const c_void, c_uint) -> *mut Source;
    source_add_unix_fd = "g_source_add_unix_fd":
        unsafe extern "C" fn(*mut Source, c_int, c_uint) -> *mut c_void;
    source_query_unix_fd = "g_source_query_unix_fd":
        unsafe extern "C" fn(*mut Source, *mut c_void) -> c_uint;
    source_attach = "g_source_attach": unsafe extern "C" fn(*mut Source, Context) -> c_uint;
    source_destroy = "g_source_destroy": unsafe extern "C" fn(*mut Source);
    source_unref = "g_source_unref": unsafe extern "C" fn(*mut Source);
    timeout_add_seconds = "g_timeout_add_seconds":
        unsafe extern "C" fn(c_uint, OnEvent, *const c_void) -> c_uint;
    unix_signal_add = "g_unix_signal_add":
        unsafe extern "C" fn(c_int, OnEvent, *const c_void) -> c_uint;
}
