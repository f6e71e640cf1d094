//! The files that the targets include. They refer to each other by paths from the root of their
//! crate.

#[path = "../../../examples/common"]
pub mod common {
    pub mod ftp;
}
#[path = "../../../examples/ftp_server/library.rs"]
pub mod library;

#[path = "../../../src/timer"]
pub mod timer {
    pub(crate) mod wheel;
}

#[cfg(feature = "async")]
#[path = "../../../tests/loop_model/mod.rs"]
pub mod loop_model;

#[path = "../../../tests/model/mod.rs"]
pub mod model;

#[path = "../../../examples/http_server/path.rs"]
pub mod path;
#[path = "../../../examples/http_server/range.rs"]
pub mod range;
#[path = "../../../examples/http_server/request.rs"]
pub mod request;
