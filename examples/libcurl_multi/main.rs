//! Concurrent downloads by libcurl's multi interface on the event loop. Not in the documents. It
//! shows how a C library with callbacks uses a loop that it cannot borrow: `glue.rs` is all that
//! libcurl needs. Other libraries that leave sockets and a timer to the program are integrated in
//! the same way.
//!
//! ```text
//! cargo run --example libcurl_multi -- --into /tmp http://localhost:8000/README.md http://localhost:8000/Cargo.toml
//! cargo run --example http_server
//! ```

#[path = "../common/mod.rs"]
mod common;
#[cfg(unix)]
mod downloads;
#[cfg(unix)]
mod glue;
#[cfg(unix)]
mod libcurl;
#[cfg(unix)]
#[path = "../common/library.rs"]
mod library;

#[cfg(unix)]
mod client {
    use std::io;
    use std::path::PathBuf;

    use clap::Parser;
    use polyselect::{Backend, EventLoop};

    use crate::common;
    use crate::downloads::Downloads;
    use crate::libcurl::Libcurl;

    #[derive(Parser)]
    struct Args {
        #[arg(required = true, value_name = "URL")]
        urls: Vec<String>,
        /// The folder of the files.
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        into: PathBuf,
        /// The backend to wait with; without it, the best of this system.
        #[arg(long)]
        backend: Option<Backend>,
    }

    pub(crate) fn main() -> io::Result<()> {
        let args = Args::parse();
        common::start_log();
        let libcurl = Libcurl::load()?;
        libcurl.initialise()?;
        let downloads = Downloads::new(libcurl)?;
        let mut event_loop = match args.backend {
            Some(backend) => EventLoop::with_backend(backend, downloads)?,
            None => EventLoop::new(downloads)?,
        };
        Downloads::connect(&mut event_loop)?;
        for url in &args.urls {
            event_loop.state.add(url, &args.into)?;
        }
        event_loop.run()?;
        match event_loop.state.failures() {
            0 => Ok(()),
            failures => Err(io::Error::other(format!("{failures} downloads failed"))),
        }
    }
}

#[cfg(unix)]
fn main() -> Result<(), common::Failure> {
    Ok(client::main()?)
}

#[cfg(not(unix))]
fn main() {
    eprintln!("this example looks up the functions of libcurl with `dlopen`, which Windows lacks");
    std::process::exit(1);
}
