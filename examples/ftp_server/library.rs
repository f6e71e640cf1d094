//! The folder with the files, for both models.

use std::io::{self, Cursor};
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use crate::common::ftp::content::Content;
use crate::common::ftp::incoming::Incoming;
use crate::common::ftp::{Frame, LIBRARY_IS_EMPTY, NO_SUCH_FILE, cannot_store};

const BAD_NAME: &str = "文件名不合法";
const FILE_EXISTS: &str = "文件已存在";

/// The regular files of a folder, without hidden ones. A name with a slash is rejected, and a
/// symbolic link that leads out of the folder is not followed.
pub struct Library {
    folder: PathBuf,
    dir: Dir,
}

impl Library {
    pub fn open(folder: &Path) -> io::Result<Self> {
        let cannot = |error: io::Error| {
            let message = format!(
                "the library {} cannot be opened: {error}; name a folder that exists",
                folder.display()
            );
            io::Error::new(error.kind(), message)
        };
        let dir = Dir::open_ambient_dir(folder, ambient_authority()).map_err(cannot)?;
        Ok(Self { folder: folder.canonicalize().map_err(cannot)?, dir })
    }

    /// Returns the names, one per line.
    pub fn list(&self) -> Result<Content, String> {
        let names = self.names().map_err(|error| format!("文件库无法读取: {error}"))?;
        if names.is_empty() {
            return Err(LIBRARY_IS_EMPTY.into());
        }
        let lines = names.iter().flat_map(|name| [name, "\n"]).collect::<String>();
        let size = lines.len() as u64;
        Ok(Content::new(Cursor::new(lines), size))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in self.dir.entries()? {
            // A client cannot request a name that is not UTF-8.
            let Ok(name) = entry?.file_name().into_string() else { continue };
            // `metadata` follows links, and fails for those that lead out of the folder.
            let is_file = |name: &str| self.dir.metadata(name).is_ok_and(|found| found.is_file());
            if is_name(&name) && is_file(&name) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    pub fn get(&self, name: &str) -> Result<Content, String> {
        if !is_name(name) {
            return Err(NO_SUCH_FILE.into());
        }
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use cap_std::fs::OpenOptionsExt;
            use rustix::fs::OFlags;

            // Opening a pipe would block until it has a writer.
            options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        }
        let opened = self.dir.open_with(name, &options).and_then(|file| {
            let metadata = file.metadata()?;
            Ok((file, metadata))
        });
        match opened {
            Ok((file, metadata)) if metadata.is_file() => Ok(Content::new(file, metadata.len())),
            Ok(_) => Err(NO_SUCH_FILE.into()),
            Err(error) => {
                log::info!("{name:?}: {error}");
                Err(NO_SUCH_FILE.into())
            }
        }
    }

    pub fn put(&self, name: &str) -> Result<Upload, String> {
        if !is_name(name) {
            return Err(BAD_NAME.into());
        }
        if self.dir.symlink_metadata(name).is_ok() {
            return Err(FILE_EXISTS.into());
        }
        let file = Incoming::create(&self.folder).map_err(|error| cannot_store(&error))?;
        Ok(Upload { path: self.folder.join(name), file })
    }
}

/// Whether it is a single name, not a path, and not hidden.
fn is_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let is_plain = matches!(
        (components.next(), components.next()),
        (Some(Component::Normal(only)), None) if only == name
    );
    is_plain && !name.starts_with('.') && !name.chars().any(char::is_control)
}

/// A file on its way into the library.
pub struct Upload {
    path: PathBuf,
    file: Incoming,
}

impl Upload {
    pub fn write(&mut self, bytes: &[u8]) {
        self.file.write(bytes);
    }

    /// Puts the file into the library, and returns the answer for the client.
    pub fn finish(self) -> Frame {
        match self.file.keep(&self.path) {
            Ok(()) => Frame::Ok(0),
            // Another client stored a file of this name first.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Frame::Refused(FILE_EXISTS.into())
            }
            Err(error) => Frame::Refused(cannot_store(&error)),
        }
    }
}
