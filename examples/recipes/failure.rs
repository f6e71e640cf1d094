//! The error of a recipe's `main`, which is that of the examples.

#[path = "../common/failure.rs"]
mod common;

pub use common::Failure;
