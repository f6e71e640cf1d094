//! An event loop as a source of glib's main loop.

#![allow(unsafe_code, clippy::multiple_unsafe_ops_per_block)] // Callbacks of C.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::time::{Duration, Instant};

use polyselect::EventLoop;

use crate::glib::{CONTINUE, Glib, IN, MainLoop, OnEvent, Source, SourceFunctions};

/// Both loops, and what is common to their callbacks.
pub(crate) struct Program<T> {
    glib: Glib,
    main_loop: MainLoop,
    event_loop: RefCell<EventLoop<T>>,
    result: Cell<io::Result<()>>,
    pub(crate) state: T,
}

/// What glib allocates for the source.
#[repr(C)]
struct LoopSource<T> {
    source: Source,
    program: *const Program<T>,
    /// The name of the loop's descriptor in the source.
    descriptor: *mut c_void,
}

impl<T: 'static> LoopSource<T> {
    const FUNCTIONS: SourceFunctions<Self> = SourceFunctions {
        prepare: prepare::<T>,
        check: check::<T>,
        dispatch: dispatch::<T>,
        rest: [ptr::null_mut(); 3],
    };
}

impl<T: Clone + 'static> Program<T> {
    pub(crate) fn new(event_loop: EventLoop<T>) -> io::Result<Self> {
        let glib = Glib::load()?;
        // SAFETY: null is the context of the main thread, and the loop does not run yet.
        let main_loop = unsafe { (glib.main_loop_new)(ptr::null_mut(), 0) };
        let state = event_loop.state.clone();
        let event_loop = RefCell::new(event_loop);
        Ok(Self { glib, main_loop, event_loop, result: Cell::new(Ok(())), state })
    }

    /// Calls a function every `seconds`.
    pub(crate) fn every(&self, seconds: u32, function: OnEvent) {
        // SAFETY: the function takes a program, which lives for longer than the loop runs.
        unsafe { (self.glib.timeout_add_seconds)(seconds, function, ptr::from_ref(self).cast()) };
    }

    /// Calls a function when a signal arrives.
    pub(crate) fn on_signal(&self, signal: c_int, function: OnEvent) {
        // SAFETY: as for `every`.
        unsafe { (self.glib.unix_signal_add)(signal, function, ptr::from_ref(self).cast()) };
    }

    /// Runs both loops until `stop`.
    pub(crate) fn run(&self) -> io::Result<()> {
        let descriptor: OwnedFd = self.event_loop.borrow_mut().descriptor()?;
        let glib = &self.glib;
        // SAFETY: glib zeroes what it allocates, and its part has the size of its header's `GSource`. The functions
        // are constants; the program and the descriptor outlive the source, which is destroyed below.
        unsafe {
            let functions = ptr::from_ref(const { &LoopSource::<T>::FUNCTIONS });
            let source =
                (glib.source_new)(functions.cast(), size_of::<LoopSource<T>>().try_into().unwrap());
            let this = source.cast::<LoopSource<T>>();
            (*this).program = self;
            (*this).descriptor = (glib.source_add_unix_fd)(source, descriptor.as_raw_fd(), IN);
            (glib.source_attach)(source, ptr::null_mut());
            (glib.main_loop_run)(self.main_loop);
            (glib.source_destroy)(source);
            (glib.source_unref)(source);
        }
        self.result.replace(Ok(()))
    }
}

impl<T: 'static> Program<T> {
    pub(crate) fn stop(&self) {
        // SAFETY: the loop exists, and one that does not run is left alone.
        unsafe { (self.glib.main_loop_quit)(self.main_loop) };
    }

    /// Returns the timeout of the next wait. It is computed before each, because callbacks of glib
    /// may have queued calls.
    fn timeout(&self) -> Option<Duration> {
        let deadline = self.event_loop.borrow_mut().next_deadline()?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }
}

impl<T> Drop for Program<T> {
    fn drop(&mut self) {
        // SAFETY: no other reference to it exists.
        unsafe { (self.glib.main_loop_unref)(self.main_loop) };
    }
}

unsafe extern "C" fn prepare<T: 'static>(
    source: *mut LoopSource<T>,
    milliseconds: *mut c_int,
) -> c_int {
    // SAFETY: `run` has set the program, and glib passes a place for the timeout.
    let (program, milliseconds) = unsafe { (&*(*source).program, &mut *milliseconds) };
    let timeout = program.timeout();
    // Rounded up: a wait that ends too early would be repeated at once.
    let rounded = timeout.map(|timeout| timeout.as_nanos().div_ceil(1_000_000));
    *milliseconds = rounded.map_or(-1, |rounded| c_int::try_from(rounded).unwrap_or(c_int::MAX));
    c_int::from(timeout == Some(Duration::ZERO))
}

unsafe extern "C" fn check<T: 'static>(source: *mut LoopSource<T>) -> c_int {
    // SAFETY: `run` has set both fields.
    let (program, ready) = unsafe {
        let program = &*(*source).program;
        (program, (program.glib.source_query_unix_fd)(source.cast(), (*source).descriptor))
    };
    c_int::from(ready != 0 || program.timeout() == Some(Duration::ZERO))
}

/// A panic of a callback aborts the process here, because it cannot unwind through C.
unsafe extern "C" fn dispatch<T: 'static>(
    source: *mut LoopSource<T>,
    _: *mut c_void,
    _: *mut c_void,
) -> c_int {
    // SAFETY: `run` has set the program.
    let program = unsafe { &*(*source).program };
    if let Err(error) = program.event_loop.borrow_mut().turn(Duration::ZERO) {
        program.result.set(Err(error));
        program.stop();
    }
    CONTINUE
}
