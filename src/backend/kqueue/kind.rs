//! The kind of a descriptor's file, as far as its filters differ.

use std::io;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::getpeername;

use crate::backend::refuses_devices;
use crate::descriptor::{Descriptor, FileKind};
use crate::error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A stream socket that is neither connected nor listens. The kernel chooses the filter's function when
    /// the filter is added, and some kernels do not change it when the socket begins to listen.
    Unconnected,
    /// An end of a pipe.
    Pipe {
        /// Whether it can be written to.
        writes: bool,
    },
    /// A regular file, whose filter is silent at its end, or another file that never blocks.
    NeverBlocks,
    /// Another device; the kernel may have no filter for it.
    Device,
    /// A file that `select` watches, and kqueue cannot.
    ForSelect,
    Other,
}

impl Kind {
    /// One system call for a connected socket, up to three for other kinds.
    pub(super) fn of(descriptor: Descriptor) -> io::Result<Self> {
        match getpeername(descriptor.borrow()) {
            Err(Errno::NOTSOCK | Errno::OPNOTSUPP) => Ok(Self::of_file(descriptor)),
            Err(Errno::BADF) => Err(error::not_open(descriptor)),
            Err(Errno::NOTCONN) if may_listen(descriptor) => Ok(Self::Unconnected),
            _ => Ok(Self::Other),
        }
    }

    fn of_file(descriptor: Descriptor) -> Self {
        match descriptor.kind() {
            FileKind::NeverBlocks => Self::NeverBlocks,
            // The filter of a named pipe does not see its last writer go.
            FileKind::Fifo { is_named: true } if refuses_devices() => Self::ForSelect,
            FileKind::Fifo { .. } => Self::Pipe { writes: can_be_written_to(descriptor) },
            FileKind::Device => Self::Device,
            FileKind::Other => Self::Other,
        }
    }
}

#[cfg(not(target_vendor = "apple"))]
fn may_listen(descriptor: Descriptor) -> bool {
    use rustix::net::{SocketType, sockopt};

    let socket = descriptor.borrow();
    sockopt::socket_type(socket).is_ok_and(|kind| kind != SocketType::DGRAM)
        && sockopt::socket_acceptconn(socket) == Ok(false)
}
/// The kernel of macOS notices.
#[cfg(target_vendor = "apple")]
fn may_listen(_: Descriptor) -> bool {
    false
}

fn can_be_written_to(descriptor: Descriptor) -> bool {
    rustix::fs::fcntl_getfl(descriptor.borrow())
        .is_ok_and(|flags| flags & OFlags::RWMODE != OFlags::RDONLY)
}

/// The later state of a socket that was neither connected nor listened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    None,
    Listens,
    Connected,
}

impl Progress {
    pub(super) fn of(descriptor: Descriptor) -> Self {
        match getpeername(descriptor.borrow()) {
            Err(Errno::NOTCONN) if may_listen(descriptor) => Self::None,
            Err(Errno::NOTCONN) => Self::Listens,
            _ => Self::Connected,
        }
    }
}
