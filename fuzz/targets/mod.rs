//! The fuzz targets: each takes any bytes, and panics on a fault.
//!
//! They run in two ways: by libFuzzer, from the programs in `fuzz_targets/` (`cargo fuzz run NAME`,
//! on nightly), and on stable Rust as `cargo test --test fuzz_corpus`, which mutates the kept
//! corpus without feedback from coverage. `scripts/fuzz` uses libFuzzer if it is installed.

mod bytes;
pub mod callbacks;
pub mod ftp_frames;
pub mod http_requests;
#[cfg(feature = "async")]
pub mod loops;
pub mod mechanisms;
#[allow(dead_code, unused_imports)] // The targets use only some of it.
pub mod sources;
pub mod timer_wheel;
pub mod write_queue;

#[allow(dead_code)] // A program for libFuzzer names one of them itself.
pub struct Target {
    pub name: &'static str,
    pub check: fn(&[u8]),
}

#[allow(dead_code)]
pub const TARGETS: &[Target] = &[
    Target { name: "callbacks", check: callbacks::check },
    Target { name: "ftp_frames", check: ftp_frames::check },
    Target { name: "http_requests", check: http_requests::check },
    #[cfg(feature = "async")]
    Target { name: "loops", check: loops::check },
    Target { name: "mechanisms", check: mechanisms::check },
    Target { name: "timer_wheel", check: timer_wheel::check },
    Target { name: "write_queue", check: write_queue::check },
];
