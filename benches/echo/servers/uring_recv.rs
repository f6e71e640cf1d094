//! io_uring receives and sends, without readiness. Each connection has its own buffer, because the kernel holds
//! it while the receive waits.

#![allow(unsafe_code)] // The kernel gets buffers by address.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};

use crate::connection::BUFFER;

struct Connection {
    stream: TcpStream,
    /// Never freed, so the kernel may write to it at any time.
    buffer: &'static mut [u8],
    received: usize,
    sent: usize,
}

impl Connection {
    fn receive(&mut self, index: usize) -> Entry {
        let descriptor = types::Fd(self.stream.as_raw_fd());
        opcode::Recv::new(descriptor, self.buffer.as_mut_ptr(), BUFFER as u32)
            .build()
            .user_data(index as u64)
    }

    fn send(&mut self, index: usize) -> Entry {
        let descriptor = types::Fd(self.stream.as_raw_fd());
        let rest = &self.buffer[self.sent..self.received];
        opcode::Send::new(descriptor, rest.as_ptr(), rest.len() as u32)
            .build()
            .user_data(index as u64)
    }

    /// Returns the next operation after the present one has completed with `result`.
    fn next(&mut self, index: usize, result: usize) -> Entry {
        if self.sent == self.received {
            (self.received, self.sent) = (result, 0);
        } else {
            self.sent += result;
        }
        if self.sent == self.received { self.receive(index) } else { self.send(index) }
    }
}

pub fn serve(streams: Vec<TcpStream>) -> io::Result<()> {
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize((streams.len() as u32).next_power_of_two().max(2048))
        .build(1024)?;
    let mut connections = Vec::with_capacity(streams.len());
    for (index, stream) in streams.into_iter().enumerate() {
        // Or a receive with nothing there would fail instead of waiting.
        stream.set_nonblocking(false)?;
        let buffer = vec![0; BUFFER].leak();
        let mut connection = Connection { stream, buffer, received: 0, sent: 0 };
        push(&mut ring, &connection.receive(index))?;
        connections.push(Some(connection));
    }
    let mut open = connections.len();
    let mut completed = Vec::new();
    while open > 0 {
        while let Err(error) = ring.submit_and_wait(1) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        completed.extend(ring.completion().map(|entry| (entry.user_data(), entry.result())));
        for (index, result) in completed.drain(..) {
            let index = index as usize;
            let Some(connection) = &mut connections[index] else { continue };
            match result {
                1.. => push(&mut ring, &connection.next(index, result as usize))?,
                // The end, or a reset.
                _ => {
                    connections[index] = None;
                    open -= 1;
                }
            }
        }
    }
    Ok(())
}

fn push(ring: &mut IoUring, entry: &Entry) -> io::Result<()> {
    // SAFETY: the buffer is never freed, and no two operations use it at a time; nothing here
    // touches it during an operation.
    while unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit()?;
    }
    Ok(())
}
