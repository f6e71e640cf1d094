#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

use targets::sources::{common, request};

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::callbacks::check(data));
