//! The receiving side of a file.

use std::io::{self, Write};
use std::path::Path;

use tempfile::{NamedTempFile, PersistError};

/// A file on its way in. It has a hidden name until it is complete and gets its own; if it never
/// is, it is removed.
#[derive(Debug)]
pub struct Incoming {
    /// An error is kept until the end, because the other side does not read until it has sent
    /// everything.
    file: io::Result<NamedTempFile>,
}

impl Incoming {
    /// A file in the destination folder, so that renaming it is one step.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".").suffix(".part");
        #[cfg(unix)]
        {
            use std::fs::Permissions;
            use std::os::unix::fs::PermissionsExt;

            // The mode of any new file, less the umask: tempfile creates files that only their
            // owner can read.
            builder.permissions(Permissions::from_mode(0o666));
        }
        Ok(Self { file: Ok(builder.tempfile_in(folder)?) })
    }

    pub fn write(&mut self, bytes: &[u8]) {
        if let Ok(file) = &mut self.file
            && let Err(error) = file.as_file_mut().write_all(bytes)
        {
            self.file = Err(error);
        }
    }

    /// Gives the file its name, and replaces a file that has it.
    pub fn replace(self, path: &Path) -> io::Result<()> {
        self.file?.persist(path).map(drop).map_err(|PersistError { error, .. }| error)
    }

    /// Gives the file its name; `AlreadyExists` if another file has it.
    pub fn keep(self, path: &Path) -> io::Result<()> {
        self.file?.persist_noclobber(path).map(drop).map_err(|PersistError { error, .. }| error)
    }
}
