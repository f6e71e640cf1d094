//! The traits of `futures-io`, so that code that is written for them works here.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use rustix::fd::AsFd;

use super::source::Async;

macro_rules! implement {
    ($this:ty) => {
        impl<S: AsFd + 'static> AsyncRead for $this
        where
            for<'a> &'a S: Read,
        {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.reading().poll_unowned(|entry| self.poll_read_into(entry, context, buffer))
            }
        }

        impl<S: AsFd + 'static> AsyncWrite for $this
        where
            for<'a> &'a S: Write,
        {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.writing().poll_unowned(|entry| self.poll_write_from(entry, context, bytes))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                parts: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.writing().poll_unowned(|entry| self.poll_write_parts(entry, context, parts))
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                // Nothing is buffered.
                Poll::Ready((&*self.get_ref()).flush())
            }

            /// Ends the writing side of a socket, whose reading side goes on; others end when they
            /// are dropped.
            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.end_writing())
            }
        }
    };
}

implement!(Async<S>);
implement!(&Async<S>);
