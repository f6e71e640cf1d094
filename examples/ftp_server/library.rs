//! The folder with the files, whoever asks for them.

use std::io::{self, Cursor, Write};
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use tempfile::NamedTempFile;

use crate::common::ftp::{Content, Frame, LIBRARY_IS_EMPTY, NO_SUCH_FILE, create_aside};

const BAD_NAME: &str = "文件名不合法";
const FILE_EXISTS: &str = "文件已存在";

/// Its plain files, without the hidden ones. A name with a folder in it is none, and a symbolic link
/// that leads elsewhere leads nowhere.
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

    /// The names, a line each.
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
            // Nobody could ask for a name that is not UTF-8.
            let Ok(name) = entry?.file_name().into_string() else { continue };
            // It follows links, and fails for those that lead out of the folder.
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

            // Opening a pipe would wait for a writer.
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
        let file = create_aside(&self.folder).map_err(|error| cannot_store(&error))?;
        Ok(Upload { path: self.folder.join(name), file: Ok(file) })
    }
}

fn cannot_store(error: &io::Error) -> String {
    format!("文件无法保存: {error}")
}

/// One name, not a path, and none that the list does not show.
fn is_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let is_plain = matches!(
        (components.next(), components.next()),
        (Some(Component::Normal(only)), None) if only == name
    );
    is_plain && !name.starts_with('.') && !name.chars().any(char::is_control)
}

/// A file on its way in. Dropped before it is complete, it leaves nothing.
pub struct Upload {
    path: PathBuf,
    /// The error is told at the end: the client speaks until then, and does not listen.
    file: io::Result<NamedTempFile>,
}

impl Upload {
    pub fn write(&mut self, bytes: &[u8]) {
        if let Ok(file) = &mut self.file
            && let Err(error) = file.as_file_mut().write_all(bytes)
        {
            self.file = Err(error);
        }
    }

    /// Gives the file its name. The answer for the client.
    pub fn finish(self) -> Frame {
        let stored = self.file.map_err(|error| cannot_store(&error)).and_then(|file| {
            file.persist_noclobber(&self.path).map_err(|failed| match failed.error.kind() {
                // Somebody else was faster.
                io::ErrorKind::AlreadyExists => FILE_EXISTS.into(),
                _ => cannot_store(&failed.error),
            })
        });
        match stored {
            Ok(_) => Frame::Ok(0),
            Err(why) => Frame::Refused(why),
        }
    }
}
