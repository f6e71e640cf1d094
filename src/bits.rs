//! `poll`'s bits, with Linux's values on every system.

pub(crate) const IN: u32 = 0x01;
pub(crate) const PRI: u32 = 0x02;
pub(crate) const OUT: u32 = 0x04;
pub(crate) const ERR: u32 = 0x08;
pub(crate) const HUP: u32 = 0x10;
pub(crate) const NVAL: u32 = 0x20;
pub(crate) const RDHUP: u32 = 0x2000;

/// All of them; kernels define more.
#[cfg(epoll)]
pub(crate) const ALL: u32 = IN | PRI | OUT | ERR | HUP | NVAL | RDHUP;
