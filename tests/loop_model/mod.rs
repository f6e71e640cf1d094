//! A plain model of an event loop with tasks: programs, what each part of the loop owes, and how a program ends.

#![allow(missing_debug_implementations)] // No failure prints them; its program is more useful.

pub mod callbacks;
pub mod children;
pub mod clients;
pub mod ending;
pub mod homes;
pub mod lab;
pub mod outside;
pub mod pipe_tasks;
pub mod pipes;
#[cfg(unix)]
pub mod processes;
pub mod program;
pub mod readiness;
pub mod servers;
pub mod signals;
pub mod socket;
pub mod sources;
pub mod steps;
pub mod streams;
pub mod tasks;
pub mod timers;
pub mod wakers;
pub mod watchdog;
pub mod world;
