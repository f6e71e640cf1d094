//! Handles of the driver, each with a bounded number of sockets.

use std::io;

use super::driver::Driver;
use super::port::Port;

/// The sockets of one handle. A cancellation walks all that is pending on it.
const SOCKETS: u32 = 32;

#[derive(Debug)]
pub(super) struct Helpers {
    all: Vec<(Driver, u32)>,
    /// Those with room.
    with_room: Vec<usize>,
}

impl Helpers {
    /// Opens the first one.
    pub(super) fn open(port: &Port) -> io::Result<Self> {
        Ok(Self { all: vec![(Driver::open(port)?, 0)], with_room: vec![0] })
    }

    /// Finds a handle for one more socket.
    pub(super) fn acquire(&mut self, port: &Port) -> io::Result<usize> {
        if self.with_room.is_empty() {
            let driver = Driver::open(port)?;
            self.with_room.push(self.all.len());
            self.all.push((driver, 0));
        }
        let index = self.with_room[self.with_room.len() - 1];
        let sockets = &mut self.all[index].1;
        *sockets += 1;
        if *sockets == SOCKETS {
            self.with_room.pop();
        }
        Ok(index)
    }

    /// Gives back the place of a socket that has no request any more.
    pub(super) fn release(&mut self, index: usize) {
        let sockets = &mut self.all[index].1;
        if *sockets == SOCKETS {
            self.with_room.push(index);
        }
        *sockets -= 1;
    }

    pub(super) fn get(&self, index: usize) -> &Driver {
        &self.all[index].0
    }
}
