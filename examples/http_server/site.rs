//! The folder that is served: maps requests to files, and never leaves the folder.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use http::{Method, StatusCode};
use rustix::io::Errno;

use crate::listing;
use crate::path::RequestPath;
use crate::range::{Range, Selected};
use crate::request::{Refusal, Request};
use crate::response::{Body, Response};

/// A folder. Every path is resolved below it; a symbolic link that is absolute or leads out of it
/// is not followed.
pub struct Site(Dir);

impl Site {
    pub fn open(folder: &Path) -> io::Result<Self> {
        let cannot = |error: io::Error| {
            let message = format!("the folder {} cannot be served: {error}", folder.display());
            io::Error::new(error.kind(), message)
        };
        let dir = Dir::open_ambient_dir(folder, ambient_authority()).map_err(cannot)?;
        // Opening succeeds without permission to read.
        dir.entries().map_err(cannot)?;
        Ok(Self(dir))
    }

    pub fn respond(&self, request: &Request) -> Response {
        self.find(request).unwrap_or_else(Response::from)
    }

    fn find(&self, request: &Request) -> Result<Response, Refusal> {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let why = "this server knows GET and HEAD";
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, why));
        }
        let path = RequestPath::parse(request.uri.path())?;
        let file_path = path.to_path();
        let metadata = self.0.metadata(&file_path).map_err(|error| refuse(&error))?;
        if !metadata.is_dir() {
            // Other kinds of files, such as sockets, may not even be opened.
            if path.is_folder || !metadata.is_file() {
                return Err(Refusal::new(StatusCode::NOT_FOUND, "file not found"));
            }
            return self.file(&file_path, request);
        }
        if !path.is_folder {
            // Without the slash a browser would resolve the links of the page against the parent
            // folder.
            let response = Response::new(StatusCode::MOVED_PERMANENTLY, Body::Nothing);
            return Ok(response.with("Location", path.to_folder_uri()));
        }
        match self.file(&file_path.join("index.html"), request) {
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND => {}
            answer => return answer,
        }
        let page = listing::page(&path.to_folder_uri(), &self.0, &file_path)
            .map_err(|error| refuse(&error))?;
        Ok(Response::page(StatusCode::OK, page))
    }

    fn file(&self, path: &Path, request: &Request) -> Result<Response, Refusal> {
        let (mut file, length, modified) = self.open_file(path).map_err(|error| refuse(&error))?;
        let changed = httpdate::fmt_http_date(modified);
        let is_known = match (&request.if_none_match, &request.if_modified_since) {
            // Files have no entity tags, so only `*` matches; the date does not count then.
            (Some(tags), _) => tags == "*",
            (None, Some(date)) => httpdate::parse_http_date(date).is_ok_and(|date| {
                // The date in a field has no fractions of a second.
                httpdate::parse_http_date(&changed).is_ok_and(|at| at <= date)
            }),
            (None, None) => false,
        };
        if is_known && request.range.is_none() {
            let response = Response::new(StatusCode::NOT_MODIFIED, Body::Nothing);
            return Ok(response.with("Last-Modified", changed));
        }
        // A client that has a part of another version gets the whole file.
        let is_same = request.if_range.as_ref().is_none_or(|date| *date == changed);
        let range = request.range.as_deref().filter(|_| is_same && request.method == Method::GET);
        let selected =
            Range::parse(range.unwrap_or_default()).map_or(Selected::All, |range| range.of(length));
        let response = match selected {
            Selected::All => Response::new(StatusCode::OK, Body::File(file, length)),
            Selected::Part { first, last } => {
                file.seek(SeekFrom::Start(first)).map_err(|error| refuse(&error))?;
                let body = Body::File(file, last - first + 1);
                Response::new(StatusCode::PARTIAL_CONTENT, body)
                    .with("Content-Range", format!("bytes {first}-{last}/{length}"))
            }
            Selected::Nothing => {
                let refusal =
                    Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "the file ends before that");
                let all = format!("bytes */{length}");
                return Ok(Response::from(refusal).with("Content-Range", all));
            }
        };
        Ok(response
            .with("Content-Type", content_type(path))
            .with("Last-Modified", changed)
            .with("Accept-Ranges", "bytes"))
    }

    fn open_file(&self, path: &Path) -> io::Result<(File, u64, SystemTime)> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use cap_std::fs::OpenOptionsExt;
            use rustix::fs::OFlags;

            // Opening a pipe would block until it has a writer.
            options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        }
        let file = self.0.open_with(path, &options)?.into_std();
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "not a regular file"));
        }
        Ok((file, metadata.len(), metadata.modified()?))
    }
}

fn content_type(path: &Path) -> String {
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    let is_text = mime.type_() == mime_guess::mime::TEXT;
    if is_text { format!("{mime}; charset=utf-8") } else { mime.to_string() }
}

fn refuse(error: &io::Error) -> Refusal {
    if is_out_of_descriptors(error) {
        log::warn!("a file cannot be opened: {error}");
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "this server is busy; try again");
    }
    if is_missing(error) {
        return Refusal::new(StatusCode::NOT_FOUND, "file not found");
    }
    log::warn!("a file cannot be read: {error}");
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read")
}

/// Whether the file does not exist for clients. A link that leads out of the folder counts too, so that
/// the answer reveals nothing.
pub fn is_missing(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::LOOP)
        || matches!(
            error.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::InvalidFilename
        )
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => true,
        #[cfg(unix)]
        Some(Errno::NFILE) => true,
        _ => false,
    }
}
