//! The warnings and errors that the crate has logged.

use std::sync::Mutex;

use log::{LevelFilter, Log, Metadata, Record};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keeper;

impl Log for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("polyselect")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.lock().unwrap().push(format!("{}: {}", record.level(), record.args()));
        }
    }

    fn flush(&self) {}
}

/// Keeps warnings and errors from now on. The logger belongs to the process, and thus to one case.
pub fn keep_records() {
    log::set_logger(&Keeper).expect("is the only logger");
    log::set_max_level(LevelFilter::Warn);
}

/// Takes the records that were kept since the last call, each with its level.
pub fn take_records() -> Vec<String> {
    std::mem::take(&mut LINES.lock().unwrap())
}
