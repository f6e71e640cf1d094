//! calloop, level-triggered: a source for each connection.

use std::cell::RefCell;
use std::io;
use std::net::TcpStream;
use std::rc::Rc;

use ::calloop::generic::Generic;
use ::calloop::{
    EventLoop, EventSource, Interest, Mode, Poll, PostAction, Readiness, Token, TokenFactory,
};

use crate::connection::{BUFFER, Direction, Turn, Unsent};

/// A custom source, because a callback of `Generic` cannot change the interest. Its only event is the end of the
/// connection.
struct Echo {
    stream: Generic<TcpStream>,
    unsent: Unsent,
    buffer: Rc<RefCell<Vec<u8>>>,
}

pub fn serve(streams: Vec<TcpStream>) -> io::Result<()> {
    let mut event_loop = EventLoop::<usize>::try_new().map_err(io::Error::other)?;
    let (mut open, buffer) = (streams.len(), Rc::new(RefCell::new(vec![0; BUFFER])));
    for stream in streams {
        let stream = Generic::new(stream, Interest::READ, Mode::Level);
        let source = Echo { stream, unsent: Unsent::default(), buffer: Rc::clone(&buffer) };
        event_loop
            .handle()
            .insert_source(source, |(), (), open| *open -= 1)
            .map_err(|error| io::Error::other(error.error))?;
    }
    while open > 0 {
        event_loop.dispatch(None, &mut open).map_err(io::Error::other)?;
    }
    Ok(())
}

impl EventSource for Echo {
    type Event = ();
    type Metadata = ();
    type Ret = ();
    type Error = io::Error;

    fn process_events<F>(
        &mut self,
        readiness: Readiness,
        token: Token,
        mut closed: F,
    ) -> io::Result<PostAction>
    where
        F: FnMut((), &mut ()),
    {
        let Self { stream, unsent, buffer } = self;
        let mut turn = Turn::Same;
        stream.process_events(readiness, token, |_, stream| {
            turn = unsent.echo(&**stream, &mut buffer.borrow_mut())?;
            Ok(PostAction::Continue)
        })?;
        Ok(match turn {
            Turn::Same => PostAction::Continue,
            Turn::Wants(direction) => {
                stream.interest = match direction {
                    Direction::Reading => Interest::READ,
                    Direction::Writing => Interest::WRITE,
                };
                PostAction::Reregister
            }
            Turn::Closed => {
                closed((), &mut ());
                PostAction::Remove
            }
        })
    }

    fn register(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> ::calloop::Result<()> {
        self.stream.register(poll, tokens)
    }

    fn reregister(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> ::calloop::Result<()> {
        self.stream.reregister(poll, tokens)
    }

    fn unregister(&mut self, poll: &mut Poll) -> ::calloop::Result<()> {
        self.stream.unregister(poll)
    }
}
