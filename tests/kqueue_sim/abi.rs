//! The structure and the constants, with FreeBSD's values where it has them.

#![allow(non_camel_case_types, clippy::upper_case_acronyms)]

use std::ffi::c_void;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct kevent {
    pub ident: usize,
    pub filter: i16,
    pub flags: u16,
    pub fflags: u32,
    pub data: i64,
    pub udata: *mut c_void,
}

pub const EVFILT_READ: i16 = -1;
pub const EVFILT_WRITE: i16 = -2;
pub const EVFILT_USER: i16 = -11;
pub const EVFILT_EXCEPT: i16 = -15;

pub const EV_ADD: u16 = 0x1;
pub const EV_DELETE: u16 = 0x2;
pub const EV_ENABLE: u16 = 0x4;
pub const EV_DISABLE: u16 = 0x8;
pub const EV_ONESHOT: u16 = 0x10;
pub const EV_CLEAR: u16 = 0x20;
pub const EV_RECEIPT: u16 = 0x40;
pub const EV_DISPATCH: u16 = 0x80;
pub const EV_ERROR: u16 = 0x4000;
pub const EV_EOF: u16 = 0x8000;

pub const NOTE_LOWAT: u32 = 0x1;
pub const NOTE_OOB: u32 = 0x2;
pub const NOTE_TRIGGER: u32 = 0x0100_0000;
