//! Reads into memory that has not been initialised.

use std::future::poll_fn;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::task::{Context, Poll};

use rustix::buffer::{Buffer, spare_capacity};
use rustix::fd::{AsFd, BorrowedFd};

use super::runtime::Runtime;
use super::short_read::ShortRead;
use super::source::Async;
use super::waiters::Entry;

/// The room that `read_buf` makes in a vector that has none.
const ROOM: usize = 4096;

/// The initialised memory for sources whose `Read` is their own.
type Copied = [u8; 8192];

/// Reads as the `Read` of the sources does for which [`ShortRead::is_plain`] is true.
fn receive<B: Buffer<u8>>(source: BorrowedFd<'_>, buffer: B) -> io::Result<B::Output> {
    #[cfg(not(windows))]
    return Ok(rustix::io::read(source, buffer)?);
    #[cfg(windows)]
    return Ok(rustix::net::recv(source, buffer, rustix::net::RecvFlags::empty())?.0);
}

impl<S: AsFd + 'static> Async<S>
where
    for<'a> &'a S: Read,
{
    /// Reads what there is into the spare capacity of `buffer`, as much as fits, and returns how much that was; zero
    /// bytes are the end of the stream. The vector gets longer by that much. Does not wait if there is something.
    ///
    /// Nothing is written to the memory before, so that a large buffer costs no more than a small one. A vector without
    /// spare capacity is given 4 KiB. When it is cancelled, nothing has been read.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); `buffer` is unchanged then.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # use std::io::Write;
    /// # let (mut left, right) = std::os::unix::net::UnixStream::pair()?;
    /// # left.write_all(b"hello")?;
    /// # let right = Async::new(right)?;
    /// # EventLoop::new(())?.block_on(async {
    /// let mut text = Vec::with_capacity(65536);
    /// let n = right.read_buf(&mut text).await?;
    /// assert_eq!((n, &text[..]), (5, &b"hello"[..]));
    /// # std::io::Result::Ok(()) })??; }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_buf(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(ROOM);
        }
        let spare = buffer.capacity() - buffer.len();
        let mut waiter = self.reader();
        poll_fn(|context| {
            let entry = &mut waiter.entry;
            let room = Runtime::shortened(spare);
            // The whole spare capacity, or a part in a lab.
            if ShortRead::is_plain::<S>() && room == spare {
                let read = || receive(self.get_ref().as_fd(), spare_capacity(buffer));
                return self.poll_read_of(entry, context, spare, read);
            }
            self.poll_read_copied(entry, context, room, |bytes| buffer.extend_from_slice(bytes))
        })
        .await
    }

    /// Polls for a read into memory that has not been initialised, and returns how many bytes of `buffer` it has
    /// written; zero bytes are the end of the stream, unless `buffer` is empty.
    ///
    /// For adapters to the traits of other crates, whose buffers are of this type. The bytes that it returns are
    /// initialised, and no other is changed: an adapter may rely on that in `unsafe` code. As with the traits of
    /// `futures-io`, one task at a time is woken. Otherwise use [`read_buf`](Self::read_buf).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # use std::io::Write;
    /// use std::{future::poll_fn, mem::MaybeUninit};
    ///
    /// # let (mut left, right) = std::os::unix::net::UnixStream::pair()?;
    /// # left.write_all(b"hello")?;
    /// # let right = Async::new(right)?;
    /// # EventLoop::new(())?.block_on(async {
    /// let mut memory = [MaybeUninit::uninit(); 64];
    /// let n = poll_fn(|context| right.poll_read_uninit(context, &mut memory)).await?;
    /// assert_eq!(n, 5); // the first 5 bytes of the memory are initialised
    /// # std::io::Result::Ok(()) })??; }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll_read_uninit(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        self.reading().poll_unowned(|entry| {
            let room = Runtime::shortened(buffer.len());
            if ShortRead::is_plain::<S>() {
                let read = || Ok(receive(self.get_ref().as_fd(), &mut buffer[..room])?.0.len());
                return self.poll_read_of(entry, context, room, read);
            }
            self.poll_read_copied(entry, context, room, |bytes| {
                for (place, byte) in buffer.iter_mut().zip(bytes) {
                    place.write(*byte);
                }
            })
        })
    }

    /// Polls for a read by the source's own `Read`, which needs initialised memory, and for up to `room` bytes.
    #[cold]
    fn poll_read_copied(
        &self,
        entry: &mut Entry,
        context: &Context<'_>,
        room: usize,
        copy: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let mut bytes: Copied = [0; size_of::<Copied>()];
        let room = room.min(bytes.len());
        let read = || self.get_ref().read(&mut bytes[..room]);
        let read = self.poll_read_of(entry, context, room, read);
        read.map_ok(|n| {
            copy(&bytes[..n]);
            n
        })
    }
}
