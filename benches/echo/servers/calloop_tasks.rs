//! calloop with its executor: a task for each connection; one-shot, re-armed by each wait. The tasks share
//! the buffer, because nothing stays in it after the work of an event.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::TcpStream;
use std::rc::Rc;

use ::calloop::EventLoop;
use ::calloop::futures::executor;

use crate::connection::{BUFFER, Direction, Turn, Unsent};

pub fn serve(streams: Vec<TcpStream>) -> io::Result<()> {
    let mut event_loop = EventLoop::<()>::try_new().map_err(io::Error::other)?;
    let handle = event_loop.handle();
    let (tasks, scheduler) = executor().map_err(io::Error::other)?;
    let open = Rc::new(Cell::new(streams.len()));
    handle
        .insert_source(tasks, {
            let open = Rc::clone(&open);
            move |_: io::Result<()>, (), ()| open.set(open.get() - 1)
        })
        .map_err(|error| io::Error::other(error.error))?;
    let buffer = Rc::new(RefCell::new(vec![0; BUFFER]));
    for stream in streams {
        let mut stream = handle.adapt_io(stream).map_err(io::Error::other)?;
        let (mut unsent, buffer) = (Unsent::default(), Rc::clone(&buffer));
        let task = async move {
            loop {
                match unsent.direction() {
                    Direction::Reading => stream.readable().await,
                    Direction::Writing => stream.writable().await,
                }
                let stream = &*stream.get_mut();
                if let Turn::Closed = unsent.echo(stream, &mut buffer.borrow_mut())? {
                    return Ok(());
                }
            }
        };
        scheduler.schedule(task).map_err(io::Error::other)?;
    }
    while open.get() > 0 {
        event_loop.dispatch(None, &mut ()).map_err(io::Error::other)?;
    }
    Ok(())
}
