//! Sets a cfg for each backend that the target has, so that the sources can use `#[cfg(epoll)]`.

use std::env;
use std::path::Path;

fn main() {
    let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let unix = env::var_os("CARGO_CFG_UNIX").is_some();
    let feature = |name: &str| env::var_os(format!("CARGO_FEATURE_{name}")).is_some();

    // This project's own tests run the kqueue backend on Linux, on a simulated kernel: `scripts/kqueue`. It is not
    // in the published package.
    let simulates = env::var_os("POLYSELECT_KQUEUE_SIM").is_some()
        && os == "linux"
        && Path::new("tests/kqueue_sim").exists();
    // The same for event ports: `scripts/event_port`.
    let simulates_ports = env::var_os("POLYSELECT_EVENT_PORT_SIM").is_some()
        && os == "linux"
        && Path::new("tests/event_port_sim").exists();
    let solarish = ["illumos", "solaris"].contains(&&*os);
    let linux = ["linux", "android"].contains(&&*os) && !simulates;
    let apple = ["macos", "ios", "tvos", "watchos", "visionos"].contains(&&*os);
    let bsd = ["freebsd", "netbsd", "openbsd", "dragonfly"].contains(&&*os);
    for (name, is_there) in [
        ("epoll", linux),
        ("kqueue", apple || bsd || simulates),
        ("kqueue_sim", simulates),
        ("io_uring", os == "linux" && !simulates && feature("IO_URING")),
        ("mio", unix && feature("MIO")),
        ("afd", os == "windows"),
        ("event_port", solarish || simulates_ports),
        ("event_port_sim", simulates_ports),
        ("select", !solarish),
        // A flag of `poll`, not a backend.
        ("poll_rdhup", linux || simulates || ["freebsd", "illumos"].contains(&&*os)),
    ] {
        println!("cargo::rustc-check-cfg=cfg({name})");
        if is_there {
            println!("cargo::rustc-cfg={name}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=POLYSELECT_KQUEUE_SIM");
    println!("cargo::rerun-if-env-changed=POLYSELECT_EVENT_PORT_SIM");
}
