//! Lists the backends of this system, their capabilities, and the one that `Selector::new()` takes.
//! Not a program of the documents: document 001 only lists the candidates of Python's
//! `DefaultSelector`.
//!
//! ```text
//! cargo run --example backends
//! POLYSELECT_BACKEND=poll cargo run --example backends
//! ```

mod common;

use std::env;
use std::io;

use common::say;
use polyselect::{Backend, Selector};

fn mark(able: bool) -> &'static str {
    if able { "yes" } else { "-" }
}

fn main() -> Result<(), common::Failure> {
    let mut refusals = Vec::new();
    say!(
        "{:10} {:9} {:5} {:8} {:9} {:8} {:7}",
        "backend",
        "available",
        "edge",
        "one-shot",
        "exclusive",
        "priority",
        "nesting"
    );
    for &backend in Backend::ALL {
        let opened = Selector::<io::Stdin>::with_backend(backend);
        let capabilities = backend.capabilities();
        say!(
            "{backend:10} {:9} {:5} {:8} {:9} {:8} {:7}",
            mark(opened.is_ok()),
            mark(capabilities.edge),
            mark(capabilities.oneshot),
            mark(capabilities.exclusive),
            mark(capabilities.priority),
            mark(capabilities.nesting),
        );
        refusals.extend(opened.err());
    }
    say!();
    for refusal in refusals {
        say!("{refusal}");
    }

    let chosen = Selector::<io::Stdin>::new()?.backend();
    match env::var("POLYSELECT_BACKEND") {
        Ok(_) => say!("Selector::new() takes {chosen}: POLYSELECT_BACKEND says so"),
        Err(_) => say!(
            "Selector::new() takes {chosen}: the first in this table that is available; \
             POLYSELECT_BACKEND can name another"
        ),
    }
    Ok(())
}
