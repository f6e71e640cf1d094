//! The numbers of signals, for [`EventLoop::on_signal`](crate::EventLoop::on_signal).
//!
//! ```
//! assert_ne!(polyselect::signal::SIGINT, polyselect::signal::SIGTERM);
//! ```

#[doc(no_inline)]
pub use signal_hook::consts::signal::*;
