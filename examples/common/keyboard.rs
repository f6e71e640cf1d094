//! Lines that are typed while a program waits for something else as well.

use std::io::{self, Stdin};

/// What has been typed so far.
#[derive(PartialEq)]
pub enum Keyboard {
    Nothing,
    PartOfALine,
    Line,
    End,
}

impl Keyboard {
    /// Takes what is there, past the buffer of [`Stdin`]: its `read_line` would wait for the end of
    /// a line, and all clients with it.
    pub fn read(&mut self, stdin: &Stdin) -> io::Result<()> {
        let mut cmd = [0; 1024];
        *self = match rustix::io::read(stdin, &mut cmd)? {
            0 if *self == Self::PartOfALine => Self::Line,
            0 => Self::End,
            n if cmd[..n].contains(&b'\n') => Self::Line,
            _ => Self::PartOfALine,
        };
        Ok(())
    }
}
