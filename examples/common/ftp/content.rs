//! The sending side of a file, frame by frame.

use std::io::Read;

use super::{Frame, LONGEST, read_some};

/// A file or a list on its way out, frame by frame.
pub struct Content {
    source: Box<dyn Read + Send>,
    left: u64,
}

impl Content {
    /// The first `size` bytes of `source`, which should have that many.
    pub fn new(source: impl Read + Send + 'static, size: u64) -> Self {
        Self { source: Box::new(source), left: size }
    }

    /// The number of bytes that are not in a frame yet.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Returns the next `Data`, at the end `End`; `Refused` if the source fails or has become
    /// shorter.
    pub fn next_frame(&mut self) -> Frame {
        if self.left == 0 {
            return Frame::End;
        }
        let mut bytes =
            vec![0; usize::try_from(self.left).map_or(LONGEST, |left| left.min(LONGEST))];
        match read_some(&mut self.source, &mut bytes) {
            Ok(0) => Frame::Refused("文件在传输中变短了".into()),
            Ok(n) => {
                bytes.truncate(n);
                self.left -= n as u64;
                Frame::Data(bytes)
            }
            Err(error) => Frame::Refused(format!("文件无法读取: {error}")),
        }
    }
}
