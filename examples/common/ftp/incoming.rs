//! What one side has got of a file.

use std::io::{self, Write};
use std::path::Path;

use tempfile::{NamedTempFile, PersistError};

/// A file on its way in. It has a hidden name of its own until it gets the right one, and is removed
/// if it never does: half a file is none.
#[derive(Debug)]
pub struct Incoming {
    /// An error is kept until the end: the other side speaks until then, and does not listen.
    file: io::Result<NamedTempFile>,
}

impl Incoming {
    /// A file in the folder where it will be at the end, so that renaming it is one step.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".").suffix(".part");
        #[cfg(unix)]
        {
            use std::fs::Permissions;
            use std::os::unix::fs::PermissionsExt;

            // As for any new file, less the umask: tempfile lets nobody else read what it creates.
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

    /// Gives the file its name, in the place of one that has it.
    pub fn replace(self, path: &Path) -> io::Result<()> {
        self.file?.persist(path).map(drop).map_err(|PersistError { error, .. }| error)
    }

    /// Gives the file its name; `AlreadyExists` if there is one.
    pub fn keep(self, path: &Path) -> io::Result<()> {
        self.file?.persist_noclobber(path).map(drop).map_err(|PersistError { error, .. }| error)
    }
}
