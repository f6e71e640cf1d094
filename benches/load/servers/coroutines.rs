//! Tasks: one for each connection, which waits for each message up to the idle limit.

use std::cell::Cell;
use std::future::pending;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use polyselect::asyncio::{self, Async};

use super::{CHUNK, Loop};
use crate::report::{Counts, Ending};

pub fn serve(mut event_loop: Loop, listeners: Vec<TcpListener>, idle: Duration) -> io::Result<()> {
    let counts = Rc::clone(&event_loop.state);
    let serving = event_loop.spawn(async move {
        let mut servers = Vec::new();
        for listener in listeners {
            let counts = Rc::clone(&counts);
            let handle = move |stream| handle(stream, Rc::clone(&counts), idle);
            servers.push(asyncio::serve(listener, handle)?);
        }
        pending::<io::Result<()>>().await
    });
    event_loop.run()?;
    drop(serving);
    Ok(())
}

async fn handle(stream: Async<TcpStream>, counts: Rc<Counts>, idle: Duration) -> io::Result<()> {
    stream.get_ref().set_nodelay(true)?;
    counts.accepted();
    let ending = echo(&stream, &counts, idle).await.unwrap_or_else(Ending::Failed);
    drop(stream);
    counts.ended(&ending);
    Ok(())
}

thread_local! {
    /// Shared, because nothing stays in it after the work of an event.
    static CHUNKS: Cell<Vec<u8>> = Cell::new(vec![0; CHUNK]);
}

async fn echo(stream: &Async<TcpStream>, counts: &Counts, idle: Duration) -> io::Result<Ending> {
    loop {
        match asyncio::timeout(idle, stream.readable()).await {
            Ok(readable) => readable?,
            Err(_elapsed) => return Ok(Ending::Idled),
        }
        let mut chunk = CHUNKS.take();
        let unsent = echo_now(stream, &mut chunk);
        CHUNKS.set(chunk);
        match unsent? {
            Some(unsent) if unsent.is_empty() => {}
            Some(unsent) => {
                counts.queued();
                match asyncio::timeout(idle, stream.write_all(&unsent)).await {
                    Ok(written) => written?,
                    Err(_elapsed) => return Ok(Ending::Idled),
                }
            }
            None => return Ok(Ending::Closed),
        }
    }
}

/// Echoes the received bytes, and returns those that could not be sent; `None` at the end of the stream.
fn echo_now(stream: &Async<TcpStream>, chunk: &mut [u8]) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.try_read(chunk) {
        Ok(0) => return Ok(None),
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Some(Vec::new())),
        Err(error) => return Err(error),
    };
    match stream.try_write(&chunk[..length]) {
        Ok(written) => Ok(Some(chunk[written..length].to_vec())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Ok(Some(chunk[..length].to_vec()))
        }
        Err(error) => Err(error),
    }
}
