#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

use targets::sources::{common, request};

libfuzzer_sys::fuzz_target!(
    init: {
        // The `main` of Rust makes a write to a closed peer an error; that of libFuzzer does not.
        let came = std::sync::Arc::default();
        signal_hook::flag::register(signal_hook::consts::SIGPIPE, came).expect("can be handled");
    },
    |data: &[u8]| targets::mechanisms::check(data)
);
