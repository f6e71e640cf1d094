//! Streams: everything written arrives, in order, whatever the sizes of the pieces.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::rc::Rc;

use polyselect::asyncio::{Async, StreamReader, StreamWriter};

use super::socket::{Socket, bytes_from, check_bytes, is_end};
use super::steps::Kind;
use super::world::World;

#[derive(Default)]
struct Transfer {
    written: Cell<u64>,
    received: Cell<u64>,
    /// The writer dropped its queue.
    is_aborted: Cell<bool>,
    is_receiver_gone: Cell<bool>,
}

struct ReceiverIsGone(Rc<Transfer>);

impl Drop for ReceiverIsGone {
    fn drop(&mut self) {
        self.0.is_receiver_gone.set(true);
    }
}

impl World {
    pub async fn stream(self: Rc<Self>, total: usize, piece: usize) {
        let kind = if piece.is_multiple_of(2) { Kind::Tcp } else { Kind::Local };
        let (left, right) = Socket::pair(kind);
        let (left, right) = (left.acting(&self), right.acting(&self));
        let transfer = Rc::new(Transfer::default());
        let left = Async::new(left).expect("becomes non-blocking");
        let right = Async::new(right).expect("becomes non-blocking");
        let (world, sent) = (Rc::clone(&self), Rc::clone(&transfer));
        let gone = ReceiverIsGone(transfer);
        self.spawn_future(None, async move {
            let (reader, writer) = left.split();
            drop(reader);
            let result = world.write_stream(&sent, writer, total, piece).await;
            let is_expected = match &result {
                Err(error) => is_end(error) && sent.is_receiver_gone.get(),
                Ok(()) => true,
            };
            world.check(is_expected, || format!("a stream is written: {result:?}"));
        });
        let (mut reader, writer) = right.split();
        drop(writer);
        let result = self.read_stream(&gone.0, &mut reader, piece).await;
        let transfer = &gone.0;
        let is_right = match &result {
            Ok(()) => transfer.received == transfer.written || transfer.is_aborted.get(),
            Err(error) => is_end(error) && transfer.is_aborted.get(),
        };
        self.check(is_right, || {
            let (received, written) = (transfer.received.get(), transfer.written.get());
            format!("a stream ends with {received} of {written} bytes: {result:?}")
        });
        drop(reader);
        self.act_in_task();
    }

    async fn write_stream(
        self: &Rc<Self>,
        transfer: &Transfer,
        mut writer: StreamWriter<Socket>,
        total: usize,
        piece: usize,
    ) -> io::Result<()> {
        writer.set_high_water(piece * 4);
        let mut pieces = 0;
        while transfer.written.get() < total as u64 {
            writer.write(&bytes_from(transfer.written.get(), piece))?;
            transfer.written.set(transfer.written.get() + piece as u64);
            pieces += 1;
            if pieces % 3 == 0 {
                writer.drain().await?;
                self.act_in_task();
            }
        }
        match total.trailing_zeros() % 4 {
            0 => writer.close().await,
            1 => writer.flush().await,
            2 => {
                drop(writer);
                Ok(())
            }
            _ => {
                transfer.is_aborted.set(true);
                writer.abort();
                Ok(())
            }
        }
    }

    async fn read_stream(
        self: &Rc<Self>,
        transfer: &Transfer,
        reader: &mut StreamReader<Socket>,
        piece: usize,
    ) -> io::Result<()> {
        let received = &transfer.received;
        let mut buffer = vec![0; piece / 2 + 1];
        let mut way = piece % 3;
        loop {
            let before = received.get();
            match way {
                0 => match reader.read_exact(buffer.len()).await {
                    Ok(bytes) => check_bytes(self, "a stream", received, bytes),
                    // The rest is read another way.
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                        way = 2;
                        continue;
                    }
                    Err(error) => return Err(error),
                },
                1 => {
                    let line = reader.read_line().await?;
                    check_bytes(self, "a stream", received, line);
                }
                _ => {
                    let count = reader.read(&mut buffer).await?;
                    check_bytes(self, "a stream", received, &buffer[..count]);
                }
            }
            if received.get() == before {
                return Ok(());
            }
            self.act_in_task();
        }
    }
}
