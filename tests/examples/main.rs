//! The examples as a user runs them: the real binaries, talked to by real clients.
//!
//! ```text
//! cargo test --test examples
//! cargo test --test examples -- echo_selector
//! ```

mod backends;
#[cfg(unix)]
#[path = "../support/closed_port.rs"]
#[allow(dead_code)] // The examples need no port of UDP.
mod closed_port;
mod support;

#[cfg(unix)]
mod addresses;
#[cfg(unix)]
mod asyncio_echo;
#[cfg(all(unix, feature = "async"))]
mod asyncio_ps;
#[cfg(all(unix, feature = "async"))]
mod asyncio_start_server;
#[cfg(unix)]
mod blocking_modes;
#[cfg(unix)]
mod blocking_servers;
#[cfg(unix)]
mod bursts;
#[cfg(unix)]
mod chat;
#[cfg(unix)]
mod clients;
#[cfg(target_os = "linux")]
mod compare;
#[cfg(unix)]
mod custom_reactor;
#[cfg(unix)]
mod descriptors;
#[cfg(unix)]
mod echo_selector;
#[cfg(unix)]
mod epoll_edge_server;
#[cfg(unix)]
mod epoll_server;
#[cfg(unix)]
mod ftp;
mod headers;
#[cfg(unix)]
mod http_server;
#[cfg(all(target_os = "linux", feature = "async"))]
mod in_glib;
#[cfg(target_os = "linux")]
mod in_tokio;
#[cfg(unix)]
mod libcurl_multi;
#[cfg(unix)]
mod many_clients;
#[cfg(unix)]
mod names;
#[cfg(unix)]
mod output;
#[cfg(unix)]
mod per_core_echo;
#[cfg(unix)]
mod processes;
#[cfg(unix)]
mod select_servers;
#[cfg(unix)]
mod select_stdin_server;
#[cfg(unix)]
mod socketserver;
#[cfg(unix)]
mod text;
#[cfg(unix)]
mod thread_pools;
#[cfg(unix)]
mod thread_reactor;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

const EXAMPLES: &[fn() -> Vec<Trial>] = &[
    backends::trials,
    #[cfg(unix)]
    addresses::trials,
    #[cfg(unix)]
    blocking_modes::trials,
    #[cfg(unix)]
    blocking_servers::trials,
    #[cfg(unix)]
    chat::trials,
    #[cfg(unix)]
    text::trials,
    #[cfg(unix)]
    output::trials,
    #[cfg(unix)]
    names::trials,
    #[cfg(unix)]
    bursts::trials,
    #[cfg(unix)]
    clients::trials,
    #[cfg(target_os = "linux")]
    compare::trials,
    #[cfg(unix)]
    custom_reactor::trials,
    #[cfg(unix)]
    asyncio_echo::trials,
    #[cfg(all(unix, feature = "async"))]
    asyncio_ps::trials,
    #[cfg(all(unix, feature = "async"))]
    asyncio_start_server::trials,
    #[cfg(unix)]
    descriptors::trials,
    #[cfg(unix)]
    echo_selector::trials,
    #[cfg(unix)]
    epoll_edge_server::trials,
    #[cfg(unix)]
    epoll_server::trials,
    #[cfg(unix)]
    ftp::trials,
    headers::trials,
    #[cfg(unix)]
    http_server::trials,
    #[cfg(all(target_os = "linux", feature = "async"))]
    in_glib::trials,
    #[cfg(target_os = "linux")]
    in_tokio::trials,
    #[cfg(unix)]
    libcurl_multi::trials,
    #[cfg(unix)]
    many_clients::trials,
    #[cfg(unix)]
    per_core_echo::trials,
    #[cfg(unix)]
    processes::trials,
    #[cfg(unix)]
    select_servers::trials,
    #[cfg(unix)]
    select_stdin_server::trials,
    #[cfg(unix)]
    socketserver::trials,
    #[cfg(unix)]
    thread_pools::trials,
    #[cfg(unix)]
    thread_reactor::trials,
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.list {
        support::build_examples();
        #[cfg(unix)]
        support::burst::raise_descriptor_limit();
    }
    let trials = EXAMPLES.iter().flat_map(|trials| trials()).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
