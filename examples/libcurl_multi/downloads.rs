//! The transfers of a multi handle.

#![allow(unsafe_code)] // The functions of libcurl.
#![allow(clippy::multiple_unsafe_ops_per_block)] // An option is a call.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_int, c_long, c_void};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;

use polyselect::{EventLoop, Key, Local, TimerKey};

use crate::glue::{on_socket, on_timer};
use crate::libcurl::{self, Handle, Libcurl, OnData, OnSocket, OnTimer, check};

/// The state of the loop.
pub(crate) struct Downloads {
    curl: Libcurl,
    multi: Handle,
    transfers: HashMap<Handle, Rc<Transfer>>,
    failures: usize,
    /// The registration of each socket that libcurl waits for.
    pub(crate) sources: HashMap<c_int, Key>,
    pub(crate) timer: Option<TimerKey>,
    /// libcurl has its address.
    local: Option<Box<Local<Downloads>>>,
}

struct Transfer {
    url: String,
    file: RefCell<File>,
}

impl Downloads {
    pub(crate) fn new(curl: Libcurl) -> io::Result<Self> {
        // SAFETY: the library is initialised.
        let multi = unsafe { (curl.multi_init)() };
        if multi.is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let (transfers, sources) = Default::default();
        Ok(Self { curl, multi, transfers, failures: 0, sources, timer: None, local: None })
    }

    /// Connects libcurl to the loop.
    pub(crate) fn connect(event_loop: &mut EventLoop<Self>) -> io::Result<()> {
        let local = Box::new(event_loop.local());
        let this = &mut event_loop.state;
        let data: *const Local<Self> = &**this.local.insert(local);
        let (multi, set) = (this.multi, this.curl.multi_setopt);
        // SAFETY: the options have these types, and the pointer is valid for as long as the multi handle.
        let results = unsafe {
            [
                set(multi, libcurl::MULTI_SOCKETDATA, data),
                set(multi, libcurl::MULTI_SOCKETFUNCTION, on_socket as OnSocket),
                set(multi, libcurl::MULTI_TIMERDATA, data),
                set(multi, libcurl::MULTI_TIMERFUNCTION, on_timer as OnTimer),
            ]
        };
        results.into_iter().try_for_each(|result| check(result, this.curl.multi_strerror))
    }

    /// Starts a download into a folder, under the last part of its URL.
    pub(crate) fn add(&mut self, url: &str, folder: &Path) -> io::Result<()> {
        let name = url.rsplit('/').next().filter(|name| !name.is_empty() && *name != "..");
        let file = File::create(folder.join(name.unwrap_or("index.html")))?;
        let text = CString::new(url)?;
        let transfer = Rc::new(Transfer { url: url.into(), file: file.into() });
        // SAFETY: the library is initialised.
        let handle = unsafe { (self.curl.easy_init)() };
        if handle.is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let data = Rc::as_ptr(&transfer);
        self.transfers.insert(handle, transfer);
        let set = self.curl.easy_setopt;
        // SAFETY: the options have these types; the text is copied, and the transfer lives as long as the handle.
        let results = unsafe {
            [
                set(handle, libcurl::OPT_URL, text.as_ptr()),
                set(handle, libcurl::OPT_NOSIGNAL, c_long::from(true)),
                set(handle, libcurl::OPT_FAILONERROR, c_long::from(true)),
                set(handle, libcurl::OPT_WRITEDATA, data),
                set(handle, libcurl::OPT_WRITEFUNCTION, on_data as OnData),
            ]
        };
        results.into_iter().try_for_each(|result| check(result, self.curl.easy_strerror))?;
        // SAFETY: both handles are valid, and this one is new.
        let result = unsafe { (self.curl.multi_add_handle)(self.multi, handle) };
        check(result, self.curl.multi_strerror)
    }

    /// Lets libcurl read, write or check its timeouts, and finishes the complete transfers.
    pub(crate) fn act(
        event_loop: &mut EventLoop<Self>,
        socket: c_int,
        ready: c_int,
    ) -> io::Result<()> {
        let (this, mut running) = (&mut event_loop.state, 0);
        // SAFETY: the handle is valid, and the callbacks use none of the state.
        let result =
            unsafe { (this.curl.multi_socket_action)(this.multi, socket, ready, &raw mut running) };
        check(result, this.curl.multi_strerror)?;
        this.end_complete();
        if this.transfers.is_empty() {
            event_loop.stop();
        }
        Ok(())
    }

    /// Lets libcurl check its timeouts.
    pub(crate) fn act_in_time(event_loop: &mut EventLoop<Self>) {
        event_loop.state.timer = None;
        if let Err(error) = Self::act(event_loop, libcurl::SOCKET_TIMEOUT, 0) {
            log::error!("libcurl: {error}");
            event_loop.stop();
        }
    }

    /// The number of downloads that have failed or have not ended.
    pub(crate) fn failures(&self) -> usize {
        self.failures + self.transfers.len()
    }

    fn end_complete(&mut self) {
        loop {
            // SAFETY: the handle is valid, and a message is valid until its transfer is removed.
            let message = unsafe { (self.curl.multi_info_read)(self.multi, &mut 0).as_ref() };
            let Some(message) = message else { return };
            if message.kind != libcurl::MESSAGE_DONE {
                continue;
            }
            let (handle, result) = (message.transfer, message.result);
            let transfer = self.transfers.remove(&handle).expect("was added");
            match check(result, self.curl.easy_strerror) {
                Ok(()) => log::info!("{}: complete", transfer.url),
                Err(error) => {
                    self.failures += 1;
                    log::info!("{}: {error}", transfer.url);
                }
            }
            self.clean_up(handle);
        }
    }

    fn clean_up(&self, handle: Handle) {
        // SAFETY: the handle is valid, and used no more. Removing one that was not added is an error without effect.
        unsafe {
            (self.curl.multi_remove_handle)(self.multi, handle);
            (self.curl.easy_cleanup)(handle);
        }
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        self.transfers.keys().for_each(|&handle| self.clean_up(handle));
        // SAFETY: it has no transfers any more. The loop is gone, and the callbacks return its error.
        unsafe { (self.curl.multi_cleanup)(self.multi) };
    }
}

/// Writes received data. A result other than `size * count` ends the transfer.
unsafe extern "C" fn on_data(
    bytes: *const u8,
    size: usize,
    count: usize,
    transfer: *mut c_void,
) -> usize {
    let length = size * count;
    // SAFETY: libcurl passes this many bytes, and the pointer that was passed with this function.
    let (bytes, transfer) =
        unsafe { (std::slice::from_raw_parts(bytes, length), &*transfer.cast::<Transfer>()) };
    match transfer.file.borrow_mut().write_all(bytes) {
        Ok(()) => length,
        Err(error) => {
            log::error!("{}: {error}", transfer.url);
            0
        }
    }
}
