//! The addresses that a host stands for: `localhost` is 127.0.0.1 for a server, also where the system lists
//! `::1` first, and no host is all interfaces; clients try every address.

use std::fs;
use std::net::{Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use libtest_mimic::{Completion, Failed, Trial};

use crate::output::servers;
use crate::support::{Server, example};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::ignorable_test("clients::find_a_server_that_has_only_ipv4", || {
            clients_find_it("127.0.0.1")
        }),
        Trial::ignorable_test("clients::find_a_server_that_has_only_ipv6", || {
            clients_find_it("::1")
        }),
    ];
    for name in servers().expect("the folder of the examples can be read") {
        let own = name.clone();
        trials.push(Trial::ignorable_test(
            format!("{name}::localhost_is_an_address_of_ipv4"),
            move || listens_on_ipv4(&own),
        ));
        trials.push(Trial::test(format!("{name}::no_host_is_all_interfaces"), move || {
            listens_on_all_interfaces(&name)
        }));
    }
    trials
}

/// A list of hosts with IPv6 first for `localhost`.
fn hosts() -> &'static Path {
    static HOSTS: OnceLock<PathBuf> = OnceLock::new();
    HOSTS.get_or_init(|| {
        let hosts = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hosts");
        fs::write(&hosts, "::1 localhost\n127.0.0.1 localhost\n").expect("the folder is there");
        hosts
    })
}

/// Runs a command with this list; `None` where that takes rights.
fn with_ipv6_first(command: &Command) -> Option<Command> {
    let unshare = || {
        let mut unshare = Command::new("unshare");
        let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        unshare.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(hosts());
        unshare
    };
    let tried = unshare().arg("true").stderr(Stdio::null()).status();
    tried.is_ok_and(|it| it.success()).then(|| {
        let mut unshared = unshare();
        unshared.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        unshared.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        unshared
    })
}

const NO_RIGHTS: &str = "this system does not let the test replace /etc/hosts";

fn server(name: &str, addr: &str, folder: &Path) -> Command {
    let mut command = example(name);
    command.args(["--addr", addr]).stdin(Stdio::null());
    if name == "ftp_server" {
        command.arg(folder);
    }
    command
}

fn listens_on_ipv4(name: &str) -> Result<Completion, Failed> {
    let folder = tempfile::tempdir()?;
    let Some(command) = with_ipv6_first(&server(name, "localhost:0", folder.path())) else {
        return Ok(Completion::ignored_with(NO_RIGHTS));
    };
    let server = Server::start_with(command);
    let address = server.address;
    if name == "asyncio_start_server" {
        // As Python's, it listens on every address of the host.
        server.expect_line("listening on ");
        server.stop();
        return Ok(Completion::Completed);
    }
    server.stop();
    assert_eq!(address.ip().to_string(), "127.0.0.1");
    Ok(Completion::Completed)
}

fn listens_on_all_interfaces(name: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for addr in [":0", "0.0.0.0:0"] {
        let server = Server::start_with(server(name, addr, folder.path()));
        let address = server.address;
        server.stop();
        assert_eq!(address.ip().to_string(), "0.0.0.0");
    }
    Ok(())
}

fn clients_find_it(ip: &str) -> Result<Completion, Failed> {
    if ip == "::1" && TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return Ok(Completion::ignored_with("this system has no IPv6"));
    }
    let folder = tempfile::tempdir()?;
    let address = |port| if ip == "::1" { format!("[::1]:{port}") } else { format!("{ip}:{port}") };
    for (client, name, input, printed) in [
        ("welcome_client", "welcome_server", "", "欢迎访问服务器!"),
        ("keepalive_client", "keepalive_server", "hello\n", "Server received your message."),
        ("ftp_client", "ftp_server", "list\n", "文件库为空"),
        ("many_clients", "echo_selector", "", "0 clients failed"),
        ("udp_client", "udp_server", "", ""),
    ] {
        let server = Server::start_with(server(name, &address(0), folder.path()));
        let mut command = example(client);
        command.arg(format!("localhost:{}", server.address.port()));
        if client == "many_clients" {
            command.args(["--clients", "3"]);
        }
        let Some(mut command) = with_ipv6_first(&command) else {
            return Ok(Completion::ignored_with(NO_RIGHTS));
        };
        let keyboard = folder.path().join(".keyboard");
        fs::write(&keyboard, input)?;
        let output = command.stdin(fs::File::open(&keyboard)?).output()?;
        let out = String::from_utf8(output.stdout)?;
        let error = String::from_utf8(output.stderr)?;
        assert!(output.status.success() && out.contains(printed), "{client}: {out}{error}");
        if client == "udp_client" {
            server.expect_line("Hello, Server!");
        }
        server.stop();
    }
    Ok(Completion::Completed)
}
